"""A saga: every step that fails is undone in reverse, the failure names step and party, and nothing is charged."""

import asyncio
import threading
import time
from datetime import UTC, datetime

import pytest

from flows.rent import rent_lease
from flows.teardown import end_lease
from storage.rental import Mode, Party, Pod, PodMount, RentalState, Volume, VolumeState, Wish, WorkKind
from storage.rentals import Rentals
from tasks.errors import ContainerRefused, HostAway, ImageRefused, VolumeRefused
from tasks.policy import DEFAULT
from tasks.renting.asking import ask_end
from tasks.renting.settling import commit
from tasks.renting.sweeping import sweep
from tests.databases import fresh
from tests.tasks.renting.epochs import MINER
from tests.tasks.renting.sites import HOTKEY, KEY_LINE, Engine, Town, proved

A, B = f"{MINER}/a", f"{MINER}/b"


@pytest.fixture
def engine(tmp_path):
    """A migrated database in which an epoch has proved two machines of two L4."""
    engine = fresh(tmp_path)
    proved(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def town(tmp_path, engine):
    """Two machines, and renters with money."""
    town = Town(tmp_path, engine)
    yield town
    town.market.close()


class Died(BaseException):
    """Nothing more comes of this run."""


def rent(town, name="l-1"):
    """Run the flow's body over the market."""
    asyncio.run(rent_lease(town.market, name))
    return town.lease(name)


def test_a_lease_is_handed_over(town):
    """Each step is told with its seconds; the container has the attempt in its name, and our key is out of it."""
    town.ask()
    lease = rent(town)

    assert (lease.state, lease.executor_key, lease.attempt) == (RentalState.ACTIVE, A, 1)
    assert lease.paid_from == lease.active_at
    assert town.containers == [lease.access.container] == ["subnet-l-1-1"]
    assert town.steps() == [
        (name, state)
        for name in ("clean", "prove", "pull", "create", "probe")
        for state in ("running", "done")
    ]
    assert town.disks[A].keys["subnet-l-1-1"] == f"{lease.pod.public_keys[0]}\n".encode()
    assert [c.occasion for c in town.market.certificates.of_lease("l-1")] == ["in-use", "hand-over"]
    assert town.market.claims.held(town.clock()) == frozenset()
    assert lease.access.ssh_port in range(40_000, 50_000)
    assert lease.access.host_key.startswith("ssh-ed25519 AAAA")


FAILURES = {
    "enter": (HostAway("connect", "refused"), "enter", Party.MACHINE),
    "prove full": (HostAway("talk", "gone"), "prove", Party.MACHINE),
    "create": (ContainerRefused("create", "NO_SPACE", "no space left"), "create", Party.MACHINE),
    "start": (ContainerRefused("start", "CARD_MISSING", "unknown device"), "create", Party.MACHINE),
    "knock": (HostAway("connect", "refused"), "probe", Party.MACHINE),
    "prove leased": (HostAway("talk", "gone"), "probe", Party.MACHINE),
    "keys": (ContainerRefused("keys", "REFUSED", "read-only"), "probe", Party.MACHINE),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_machine_that_fails_is_undone_and_the_next_one_tried(town, what):
    """Whatever fails on the first machine: nothing of the lease is left there, and the second one gets it."""
    failure, step, party = FAILURES[what]
    town.disks[A].fails[what] = failure
    town.ask()
    lease = rent(town)

    assert (lease.state, lease.executor_key, lease.tried) == (RentalState.ACTIVE, B, (A,))
    assert town.containers == ["subnet-l-1-2"]
    assert town.market.rentals.held() == dict.fromkeys(lease.card_uuids, "l-1")
    told = [e for e in town.market.events.after(0, lease_id="l-1") if e.kind == "REQUESTED" and e.message]
    assert [e.message for e in told] == [f"{step} ({party}): {failure}"]
    assert town.failures() == [(step, party, str(failure))]


@pytest.mark.parametrize("what", FAILURES)
def test_when_all_machines_fail_the_request_says_why_of_each(town, what):
    """Failed for good: the reason of every machine tried, nobody charged, no card held, no container left."""
    failure, step, party = FAILURES[what]
    for disk in town.disks.values():
        disk.fails[what] = failure
    town.ask()
    lease = rent(town)

    assert (lease.state, lease.tried, lease.party) == (RentalState.FAILED, (A, B), Party.NOBODY)
    assert f"{A}: {step} ({party}): {failure}" in lease.reason
    assert f"{B}: {step} ({party}): {failure}" in lease.reason
    assert (town.containers, town.market.rentals.held(), lease.sealed) == ([], {}, b"")
    assert town.market.money.bill("l-1") == ()
    assert town.market.money.books().is_even


def test_a_machine_on_which_nothing_is_up_in_time_is_left_for_the_next_one(engine, tmp_path):
    """It hangs in a step whose own limit is longer: it is broken off and undone, and nothing is charged for it."""
    town = Town(tmp_path, engine, machine_s=3.0)

    def hang():
        while not town.sites[-1].is_closed:
            time.sleep(0.01)
        return HostAway("talk", "the session is closed")

    town.disks[A].fails["knock"] = hang
    town.ask()
    lease = rent(town)
    town.market.close()

    assert (lease.state, lease.executor_key, lease.tried) == (RentalState.ACTIVE, B, (A,))
    assert town.failures() == [("probe", Party.MACHINE, "nothing was up within 3 s")]
    assert town.containers == ["subnet-l-1-2"]
    assert (lease.paid_s, lease.paid_from) == (0, lease.active_at)
    assert town.market.money.bill("l-1") == ()


def test_a_pull_that_takes_too_long_is_not_the_machines_fault(engine, tmp_path):
    """A slow registry and a slow line look the same from here: it is tried elsewhere, and no miner is blamed for it."""
    town = Town(tmp_path, engine, machine_s=3.0)

    def hang():
        while not town.sites[-1].is_closed:
            time.sleep(0.01)
        return HostAway("talk", "the session is closed")

    town.disks[A].fails["pull"] = hang
    town.ask(pod=Pod("some/image:1"))
    lease = rent(town)
    town.market.close()

    assert (lease.state, lease.executor_key, lease.tried) == (RentalState.ACTIVE, B, (A,))
    assert town.failures() == [("pull", Party.PLATFORM, "nothing was up within 3 s")]


def test_time_that_our_own_books_take_is_not_the_machines_fault(engine, tmp_path):
    """The machine has done what it was asked for, and we write down what comes next for too long."""
    slept = []

    def clock():
        lease = Rentals(engine).get("l-1")
        is_on_its_way = lease is not None and lease.state is RentalState.PROVISIONING
        if is_on_its_way and not slept and ("prove", "done") in Town.steps(town):
            slept.append(True)
            time.sleep(3.5)
        return datetime.now(UTC)

    town = Town(tmp_path, engine, machine_s=3.0, rent_s=60.0)
    town.ask()
    town.market.now = clock
    lease = rent(town)
    town.market.close()

    assert (lease.state, lease.executor_key) == (RentalState.ACTIVE, B)
    assert town.failures() == [("prove", Party.PLATFORM, "nothing was up within 3 s")]


def test_a_machine_has_five_minutes():
    """Long before a renter would have given up."""
    assert DEFAULT.renting.machine_s == 300


def test_undone_in_reverse(town):
    """The container goes before the volumes that it has mounted, and what was made for the lease alone goes with it."""
    town.disks[A].fails["knock"] = HostAway("connect", "refused")
    town.ask(pod=Pod("ubuntu", mounts=(PodMount("data", "/data"),)))
    lease = rent(town)

    done = [what for what, *_ in town.disks[A].done]
    assert done[-2:] == ["remove", "remove volume"]
    assert [step for step in town.steps() if step[0].startswith("undo")] == [
        ("undo create", "done"),
        ("undo volumes", "done"),
    ]
    assert town.disks[A].volumes == {}
    volume = town.market.volumes.get("r-l-1", "data")
    assert (volume.executor_key, volume.lease_id, volume.state) == (
        lease.executor_key,
        "l-1",
        VolumeState.KEPT,
    )


def test_a_machine_that_goes_away_for_good_takes_no_volume_along(town):
    """Nothing can be undone there, and no machine is left: the request has failed, and its volume is free for another lease."""
    disk = town.disks[A]

    def vanish():
        disk.fails |= dict.fromkeys(("enter", "remove", "remove volume"), HostAway("connect", "refused"))
        return HostAway("talk", "gone")

    disk.fails["knock"] = vanish
    town.disks[B].fails["enter"] = HostAway("connect", "refused")
    town.ask(pod=Pod("ubuntu", mounts=(PodMount("data", "/data"),)))

    assert rent(town).state is RentalState.FAILED
    assert town.market.volumes.get("r-l-1", "data").lease_id == ""
    assert [left.name for left in town.market.volumes.left_on(A)] == ["data"]


def test_a_volume_that_could_not_be_removed_is_wiped_by_the_sweep(town):
    """Its container was not removed either: the lease goes on elsewhere with a volume of that name, and this one is nobody's."""
    disk = town.disks[A]
    disk.fails |= {
        "knock": HostAway("connect", "refused"),
        "remove": ContainerRefused("remove", "REFUSED", "did not receive an exit event"),
        "remove volume": VolumeRefused("volume remove", "IN_USE", "volume is in use"),
    }
    town.ask(pod=Pod("ubuntu", mounts=(PodMount("data", "/data"),)))
    assert rent(town).executor_key == B
    (name,) = disk.volumes
    disk.fails.clear()
    told = sweep(Engine(disk), town.engine, HOTKEY, A, now=town.clock, deadline=0.0)

    assert (told.removed, told.wiped) == (("subnet-l-1-1",), ("r-l-1/data",))
    assert (disk.volumes, name in town.disks[B].volumes) == ({}, False)
    assert [v.state for v in town.market.volumes.of_lease("l-1")] == [VolumeState.KEPT]
    assert len(town.disks[B].volumes) == 1


def left_running(town, name="l-1"):
    """A lease fails on the first machine, whose engine does not remove its container either: it is let go all the same."""
    disk = town.disks[A]
    disk.fails |= {
        "knock": HostAway("connect", "refused"),
        "remove": ContainerRefused("remove", "REFUSED", "did not receive an exit event"),
    }
    town.ask(name)
    lease = rent(town, name)
    del disk.fails["knock"]
    assert A in lease.tried
    assert disk.containers[f"subnet-{name}-1"].is_running
    return lease


def test_what_another_lease_has_left_is_gone_before_its_cards_are_proved_for_the_next(town):
    """Its engine obeys again: nothing of another lease runs on the machine when the next one's container is made."""
    town.disks[B].fails["enter"] = HostAway("connect", "refused")
    assert left_running(town).state is RentalState.FAILED
    disk = town.disks[A]
    disk.fails.clear()
    disk.done.clear()
    town.ask("l-2")
    lease = rent(town, "l-2")

    assert (lease.state, lease.executor_key) == (RentalState.ACTIVE, A)
    assert town.containers == ["subnet-l-2-1"]
    done = [what for what, *_ in disk.done]
    assert done.index("remove") < done.index("prove full") < done.index("start")


def test_a_lease_that_looks_elsewhere_has_left_nothing_behind_that_counts_as_its_own(town):
    """It was let go here and stands on another machine: what it has here goes, also while somebody works on it."""
    lease = left_running(town)
    assert (lease.state, lease.executor_key) == (RentalState.ACTIVE, B)
    town.disks[A].fails.clear()
    later = town.clock().replace(year=2099)
    town.market.claims.take("l-1", "another", later, town.clock())
    town.ask("l-2")

    assert rent(town, "l-2").executor_key == A
    assert town.containers == ["subnet-l-1-2", "subnet-l-2-1"]


def test_a_machine_that_removes_no_container_gets_no_other_lease(town):
    """Two leases' containers would have the same cards: the next machine is tried, and it is this one's fault."""
    town.disks[B].fails["enter"] = HostAway("connect", "refused")
    left_running(town)
    town.disks[B].fails.clear()
    town.disks[A].done.clear()
    town.ask("l-2")
    lease = rent(town, "l-2")

    assert (lease.state, lease.executor_key, lease.tried) == (RentalState.ACTIVE, B, (A,))
    assert town.failures("l-2") == [
        ("clean", Party.MACHINE, "remove: REFUSED: did not receive an exit event")
    ]
    assert not {"prove full", "create", "start"} & {what for what, *_ in town.disks[A].done}


def test_nobody_gives_way_to_who_cannot_pay(town):
    """A machine that a spot lease has: without money it is not even told; with money it gets its notice."""
    spot = Wish(executor_key=A, mode=Mode.SPOT, bid_micro_usd_per_hour=2_000_000)
    town.ask("l-1", wish=spot)
    assert rent(town, "l-1").state is RentalState.ACTIVE
    town.ask("l-2", usd=0, wish=Wish(executor_key=A))
    town.ask("l-3", wish=Wish(executor_key=A))

    assert rent(town, "l-2").state is RentalState.FAILED
    assert town.lease("l-1").notice_until is None
    assert rent(town, "l-3").state is RentalState.REQUESTED
    assert town.lease("l-1").notice_until is not None

    for work in town.market.works.unstarted():
        town.market.works.started(work.work_id, "run")
    ask_end(town.market.rentals, "l-1", town.market.now(), Party.RENTER, "it has given way")
    asyncio.run(end_lease(town.market, "l-1"))
    waked = [work.subject for work in town.market.works.unstarted() if work.kind is WorkKind.RENT]
    assert waked == ["l-3"]
    assert rent(town, "l-3").state is RentalState.ACTIVE


def test_a_container_is_made_while_its_cards_are_proved(town):
    """Made and not started, since its image is there; nobody runs on cards that are not proved."""
    seen = []

    def look():
        end = time.monotonic() + 5
        while "copy" not in [what for what, *_ in town.disks[A].done]:
            assert time.monotonic() < end
            time.sleep(0.01)
        seen.extend((one.name, one.status) for one in town.disks[A].containers.values())

    town.disks[A].fails["prove full"] = look
    town.ask()

    assert rent(town).state is RentalState.ACTIVE
    assert seen == [("subnet-l-1-1", "created")]
    assert [what for what, *_ in town.disks[A].done].count("create") == 1


def test_a_proof_that_fails_leaves_nothing_of_what_was_made_beside_it(town):
    """Though it is still being made when the proof has failed: it is waited for, and removed."""
    is_failing = threading.Event()

    def fail():
        is_failing.set()
        return HostAway("talk", "the machine went away")

    town.disks[A].fails["prove full"] = fail
    town.disks[A].fails["create"] = lambda: is_failing.wait(5) and time.sleep(0.2)
    town.ask()

    assert rent(town).executor_key == B
    assert town.disks[A].containers == {}


def test_what_was_made_half_way_beside_the_proof_is_made_anew(town):
    """Its step says why it fails, if it does again."""
    town.disks[A].fails["copy"] = lambda: town.disks[A].fails.clear() or HostAway("talk", "reset")
    town.ask()
    lease = rent(town)

    assert (lease.state, lease.executor_key) == (RentalState.ACTIVE, A)
    assert [what for what, *_ in town.disks[A].done].count("create") == 2
    assert town.containers == ["subnet-l-1-1"]
    assert town.failures() == []


def test_what_has_to_be_fetched_is_fetched_when_the_cards_are_proved(town):
    """A pull takes a machine's line and processors: it would disturb the proof."""
    town.disks[A].images.clear()
    town.ask()

    assert rent(town).state is RentalState.ACTIVE
    done = [what for what, *_ in town.disks[A].done]
    assert done.index("prove full") < done.index("pull") < done.index("create")


def test_a_hand_over_is_not_broken_off_half_way(tmp_path, engine):
    """The machine's time runs out while the lease is handed over: it is its renter's, and its container is there."""

    def clock():
        lease = Rentals(engine).get("l-1")
        steps = Town.steps(town) if lease is not None and lease.state is RentalState.PROVISIONING else ()
        if ("probe", "done") in steps and not slept:
            slept.append(True)
            time.sleep(2.5)
        return datetime.now(UTC)

    slept = []
    town = Town(tmp_path, engine, machine_s=2.0, rent_s=60.0)
    town.ask()
    town.market.now = clock
    lease = rent(town)
    town.market.close()

    assert slept
    assert (lease.state, lease.attempt, lease.tried) == (RentalState.ACTIVE, 1, ())
    assert town.containers == ["subnet-l-1-1"]


@pytest.mark.parametrize(
    ("error", "party"),
    [
        (ImageRefused("pull", "IMAGE_NOT_FOUND", "manifest unknown"), Party.RENTER),
        (ImageRefused("pull", "IMAGE_DENIED", "unauthorized"), Party.RENTER),
    ],
)
def test_what_no_machine_could_do_better_is_not_tried_elsewhere(town, error, party):
    """The renter's own mistake: one machine, and the reason."""
    town.disks[A].fails["pull"] = error
    town.ask(pod=Pod("no/such:1"))
    lease = rent(town)

    assert (lease.state, lease.party) == (RentalState.FAILED, party)
    assert lease.reason.startswith(f"pull: {error}")
    assert town.disks[B].done == []
    assert town.market.rentals.held() == {}


def test_a_private_image_stays_its_renters_when_the_lease_is_over(town):
    """It is on the machine still: who has no login asks the registry for any image of that repository, who had one, too."""
    sealed = {"registry": {"server": "ghcr.io", "user": "alice", "password": "hunter2"}}
    first = Pod("ghcr.io/alice/model:1", public_keys=(KEY_LINE,))
    town.ask("l-1", pod=first, sealed=town.market.sealer.seal("l-1", sealed))
    rent(town, "l-1")
    ask_end(town.market.rentals, "l-1", town.clock(), Party.RENTER, "enough")
    asyncio.run(end_lease(town.market, "l-1"))
    town.disks[A].images.add("ghcr.io/alice/model@sha256:" + "a" * 64)
    town.disks[A].fails["pull"] = ImageRefused("pull", "IMAGE_DENIED", "unauthorized")
    reasons = []
    for name, end in (("l-2", ":1"), ("l-3", "@sha256:" + "a" * 64)):
        town.ask(name, pod=Pod(f"ghcr.io/alice/model{end}", public_keys=(KEY_LINE,)))
        reasons.append(rent(town, name).reason.partition(":")[0])

    assert town.lease("l-1").state is RentalState.ENDED
    assert reasons == ["pull", "pull"]


def test_a_registry_that_is_away_is_nobodys_fault(town):
    """Another machine may reach it."""
    town.disks[A].fails["pull"] = ImageRefused("pull", "REGISTRY_AWAY", "timeout")
    town.ask(pod=Pod("some/image:1"))

    assert rent(town).executor_key == B


def test_a_machine_that_shows_other_cards_is_not_handed_over(town):
    """`nvidia-smi` over the renter's own way has to list the lease's cards, all and no others."""
    town.disks[A].seen = (f"GPU-{A}-0",)
    town.ask()
    lease = rent(town)

    assert lease.executor_key == B
    assert any("nvidia-smi lists 1 cards" in e.message for e in town.market.events.after(0, limit=1_000))


def test_nothing_fits(town):
    """No model of that name: refused at once, with the reason."""
    town.ask(wish=Wish(model="H200"))
    lease = rent(town)

    assert (lease.state, lease.party) == (RentalState.FAILED, Party.NOBODY)
    assert lease.reason == "reserve: none of 2 machines offers what was asked for at this price"


def test_nothing_is_free(town):
    """Two machines, three who want one: the third is told."""
    for name in ("l-1", "l-2", "l-3"):
        town.ask(name)
    states = [rent(town, name).state for name in ("l-1", "l-2", "l-3")]

    assert states == [RentalState.ACTIVE, RentalState.ACTIVE, RentalState.FAILED]
    assert town.lease("l-3").reason == "reserve: no machine is free, of 2 that fit"


@pytest.mark.parametrize(("usd", "state"), [(0, RentalState.FAILED), (1, RentalState.ACTIVE)])
def test_without_money_nothing_is_begun(town, usd, state):
    """Ten minutes of a dollar an hour have to be there; else no machine is touched."""
    town.ask(usd=usd)
    lease = rent(town)

    assert lease.state is state
    assert bool(town.disks[A].done) is (usd > 0)
    assert lease.party is (Party.NOBODY if usd else Party.RENTER)


def test_committed_hours_are_paid_ahead_or_not_at_all(town):
    """A day of 0.95 dollars an hour goes into escrow at the hand-over; with less than that no machine is touched."""
    wish = Wish(mode=Mode.RESERVED, hours=24)
    town.ask("l-1", usd=30, wish=wish)
    town.ask("l-2", usd=20, wish=wish)

    assert (rent(town, "l-1").state, rent(town, "l-2").state) == (RentalState.ACTIVE, RentalState.FAILED)
    assert town.market.money.balance("escrow:l-1") == 24 * 950_000
    assert town.market.money.balance("renter:r-l-2") == 20_000_000
    assert town.market.money.books().is_even


@pytest.mark.parametrize("fails", [False, True])
def test_hours_that_a_dead_run_has_paid_ahead_are_paid(town, fails):
    """Killed between the prepayment and the hand-over: the next run hands it over, on that machine or another, and pays no more."""
    town.ask(usd=22.8, wish=Wish(mode=Mode.RESERVED, hours=24))

    def die():
        commit(town.market.money, town.lease(), town.clock())
        raise Died

    town.disks[A].fails["keys"] = die
    with pytest.raises(Died):
        rent(town)
    assert town.market.money.balance("renter:r-l-1") == 0
    town.disks[A].fails = {"knock": HostAway("connect", "refused")} if fails else {}
    lease = rent(town)

    assert (lease.state, lease.executor_key) == (RentalState.ACTIVE, B if fails else A)
    assert town.market.money.balance("escrow:l-1") == 24 * 950_000
    assert town.market.money.balance("renter:r-l-1") == 0


def test_a_volume_is_where_it_is(town):
    """A lease that mounts it goes to its machine, however dear; while another lease has it, nobody does."""
    kept = Volume("r-l-1", "data", B, town.clock(), state=VolumeState.KEPT)
    town.market.volumes.make(kept)
    pod = Pod("ubuntu", mounts=(PodMount("data", "/data"),))
    town.ask("l-1", pod=pod, wish=Wish(card_count=1))

    assert rent(town, "l-1").executor_key == B
    assert town.market.volumes.of_lease("l-1")[0].name == "data"


def test_who_else_works_on_it_is_left_alone(town):
    """The claim is another's: this run does nothing."""
    town.ask()
    later = town.clock().replace(year=2099)
    town.market.claims.take("l-1", "another", later, town.clock())

    assert rent(town).state is RentalState.REQUESTED
    assert town.disks[A].done == []


def test_a_run_after_one_that_died_begins_again_under_a_name_of_its_own(town, tmp_path, engine):
    """What the dead run made is removed, and what it still does when it was not dead fails: the attempt is another."""
    town.ask()

    def die():
        raise Died

    town.disks[A].fails["knock"] = die
    with pytest.raises(Died):
        rent(town)
    assert town.containers == ["subnet-l-1-1"]
    assert town.lease().state is RentalState.PROVISIONING
    town.disks[A].fails.clear()
    lease = rent(town)

    assert (lease.state, lease.executor_key, lease.attempt) == (RentalState.ACTIVE, A, 2)
    assert town.containers == ["subnet-l-1-2"]
    assert lease.tried == ()


def test_a_run_that_lost_its_lease_removes_its_own_and_nothing_else(town):
    """While it slept another run took over: its container goes, the other's stays, the lease is the other's."""
    town.ask(pod=Pod("ubuntu", mounts=(PodMount("data", "/data"),)))

    def oversleep():
        town.disks[A].fails.clear()
        town.market.claims.release("l-1", next(iter(_holders(town))))
        rent_in_thread(town)

    town.disks[A].fails["knock"] = oversleep
    lease = rent(town)

    assert (lease.state, lease.attempt) == (RentalState.ACTIVE, 2)
    assert town.containers == ["subnet-l-1-2"]
    assert town.market.volumes.of_lease("l-1")[0].state is VolumeState.KEPT
    assert len(town.disks[A].volumes) == 1


def _holders(town):
    import sqlalchemy as sa

    with town.engine.connect() as connection:
        return [row.holder for row in connection.execute(sa.text("SELECT holder FROM claims"))]


def rent_in_thread(town):
    """Another process's run, from begin to end."""
    import threading

    other = threading.Thread(target=lambda: asyncio.run(rent_lease(town.open(), "l-1")))
    other.start()
    other.join()
