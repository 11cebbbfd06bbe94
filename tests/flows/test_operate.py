"""Operations: in order, once each, undone where they fail, and told with step and party."""

import asyncio
import io
import json
import tarfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flows.operate import operate_lease
from flows.rent import rent_lease
from flows.teardown import end_lease
from storage.errors import StorageError
from storage.rental import (
    Mode,
    Operation,
    OperationKind,
    OperationState,
    Party,
    Pod,
    PodMount,
    RentalState,
    VolumeState,
    Wish,
    WorkKind,
)
from tasks.errors import ContainerRefused, HostAway
from tasks.renting.asking import ask_end, ask_operation
from tasks.renting.copying import keep_room, renamed
from tasks.renting.operating import next_of
from tasks.renting.sweeping import sweep
from tests.databases import fresh
from tests.tasks.renting.epochs import MINER
from tests.tasks.renting.sites import HOTKEY, KEY_LINE, Engine, Town, proved

A = f"{MINER}/a"
OTHER_KEY = KEY_LINE.replace("renter", "laptop").replace("mQh9r", "mQh8r")


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self):
        self.now = datetime.now(UTC)

    def __call__(self):
        return self.now

    def wait(self, **span):
        self.now += timedelta(**span)


@pytest.fixture
def engine(tmp_path):
    """A migrated database in which an epoch has proved one machine of two L4."""
    engine = fresh(tmp_path)
    proved(engine, ("a",))
    yield engine
    engine.dispose()


@pytest.fixture
def town(tmp_path, engine):
    """One machine; lease l-1 stands on it, with a volume."""
    town = Town(tmp_path, engine, ("a",), now=Clock())
    town.ask(pod=Pod("ubuntu", public_keys=(KEY_LINE,), mounts=(PodMount("data", "/data"),)))
    asyncio.run(rent_lease(town.market, "l-1"))
    assert town.lease().state is RentalState.ACTIVE
    town.disks[A].done.clear()
    yield town
    town.market.close()


def ask(town, kind, name=None, sealed=None, **arguments):
    """Ask for it; its name."""
    name = name or f"op-{kind.value}"
    sealed = town.market.sealer.seal(name, sealed or {})
    operation = Operation(
        name, "l-1", name, kind, OperationState.ASKED, town.clock(), json.dumps(arguments), sealed
    )
    ask_operation(town.market.operations, town.lease(), operation)
    town.clock.wait(seconds=1)
    return name


def do(town, kind, name=None, sealed=None, **arguments):
    """Ask for it and have it done; how it stands after."""
    name = ask(town, kind, name, sealed, **arguments)
    asyncio.run(operate_lease(town.market, name))
    return town.market.operations.get(name)


def test_stopped_it_costs_nothing_and_holds_nothing(town):
    """Ten minutes active, an hour stopped, ten minutes active: twenty minutes are paid, and the data never left."""
    town.clock.wait(minutes=10)
    assert do(town, OperationKind.STOP).state is OperationState.DONE
    lease = town.lease()
    assert (lease.state, lease.is_holding, lease.paid_from) == (RentalState.STOPPED, False, None)
    assert town.market.rentals.held() == {}
    assert town.disks[A].containers["subnet-l-1-1"].status == "exited"

    town.clock.wait(hours=1)
    assert do(town, OperationKind.START).state is OperationState.DONE
    lease = town.lease()
    assert (lease.state, lease.is_holding, lease.stopped_at) == (RentalState.ACTIVE, True, None)
    assert lease.paid_s == 601
    assert town.disks[A].containers["subnet-l-1-1"].status == "running"
    assert town.disks[A].keys["subnet-l-1-1"] == f"{KEY_LINE}\n".encode()


def test_a_stop_that_fails_goes_on_being_paid(town):
    """The engine refuses: the lease is active and paid as before, and the operation says why."""
    town.disks[A].fails["stop"] = ContainerRefused("stop", "BUSY", "already in progress")
    told = do(town, OperationKind.STOP)

    assert (told.state, told.party) == (OperationState.FAILED, Party.MACHINE)
    assert told.reason == "stop: stop: BUSY: already in progress"
    assert town.lease().state is RentalState.ACTIVE
    assert town.lease().paid_from is not None
    assert town.market.rentals.held() != {}


def test_an_operation_that_breaks_our_code_fails_and_the_next_one_is_done(town):
    """Done again it would break again, and nothing that waits behind it would ever be done: not even the stop of a lease."""
    town.disks[A].fails["backup"] = IndexError("tuple index out of range")
    told = do(town, OperationKind.BACKUP, source="volume:data")

    assert (told.state, told.party) == (OperationState.FAILED, Party.PLATFORM)
    assert told.reason == "backup: a fault of the platform's own: IndexError"
    assert do(town, OperationKind.STOP).state is OperationState.DONE


def test_what_a_rule_asks_for_waits_behind_no_wish(town):
    """What was begun goes on; then comes the stop for money, whatever was asked for before it."""
    kinds = (OperationKind.BACKUP, OperationKind.REBOOT, OperationKind.STOP)
    keys = ("a", "b", "watch 1 1")
    backup, reboot, stop = (
        Operation(k, "l-1", k, kind, OperationState.ASKED, town.clock())
        for k, kind in zip(keys, kinds, strict=True)
    )
    begun = replace(reboot, state=OperationState.RUNNING)

    assert next_of([backup, reboot]) is backup
    assert next_of([backup, reboot, stop]) is stop
    assert next_of([backup, begun, stop]) is begun


def test_its_cards_may_be_anothers_when_it_wants_to_start(town):
    """While it was stopped another lease has taken them: it stays stopped, and is told so."""
    do(town, OperationKind.STOP)
    town.ask("l-2")
    asyncio.run(rent_lease(town.market, "l-2"))
    told = do(town, OperationKind.START)

    assert (told.state, told.party) == (OperationState.FAILED, Party.NOBODY)
    assert "its cards are leased to another" in told.reason
    assert (town.lease().state, town.lease("l-2").state) == (RentalState.STOPPED, RentalState.ACTIVE)
    assert set(town.market.rentals.held().values()) == {"l-2"}


@pytest.mark.parametrize("is_stubborn", [False, True])
def test_nothing_of_another_lease_runs_with_its_cards_when_it_starts(town, is_stubborn):
    """A lease had them while it was stopped, and failed without its container being removed: it goes now, or nothing starts."""
    do(town, OperationKind.STOP)
    disk = town.disks[A]
    refused = ContainerRefused("remove", "REFUSED", "did not receive an exit event")
    disk.fails |= {"knock": HostAway("connect", "refused"), "remove": refused}
    town.ask("l-2")
    asyncio.run(rent_lease(town.market, "l-2"))
    assert disk.containers["subnet-l-2-1"].is_running
    disk.fails = {"remove": refused} if is_stubborn else {}
    told = do(town, OperationKind.START)

    running = [name for name, container in disk.containers.items() if container.is_running]
    if is_stubborn:
        assert (told.state, told.party) == (OperationState.FAILED, Party.MACHINE)
        assert (town.lease().state, running) == (RentalState.STOPPED, ["subnet-l-2-1"])
    else:
        assert told.state is OperationState.DONE
        assert running == ["subnet-l-1-1"]


def test_a_container_that_runs_while_its_lease_is_stopped_stands_still_before_its_cards_are_anothers(town):
    """A start that failed on a machine that was away: what it has started does not share the cards."""
    do(town, OperationKind.STOP)
    disk = town.disks[A]
    disk.containers["subnet-l-1-1"] = replace(disk.containers["subnet-l-1-1"], status="running")
    town.ask("l-2")
    asyncio.run(rent_lease(town.market, "l-2"))

    assert town.lease("l-2").state is RentalState.ACTIVE
    assert {name: c.status for name, c in disk.containers.items()} == {
        "subnet-l-1-1": "exited",
        "subnet-l-2-1": "running",
    }


@pytest.mark.parametrize("what", ["start", "knock", "prove leased", "keys"])
def test_a_start_that_fails_is_stopped_again(town, what):
    """Whatever fails: the container stands still, the cards are free, nothing is paid."""
    do(town, OperationKind.STOP)
    town.disks[A].fails[what] = HostAway("connect", "refused")
    told = do(town, OperationKind.START)

    assert (told.state, told.party) == (OperationState.FAILED, Party.MACHINE)
    lease = town.lease()
    assert (lease.state, lease.is_holding, lease.paid_from) == (RentalState.STOPPED, False, None)
    assert town.disks[A].containers["subnet-l-1-1"].status != "running"
    assert town.market.rentals.held() == {}


def test_operations_are_done_in_order(town):
    """Three are asked for, the last one's flow comes first: it does all of them, one after the other."""
    names = [ask(town, OperationKind.STOP), ask(town, OperationKind.START), ask(town, OperationKind.REBOOT)]
    asyncio.run(operate_lease(town.market, names[2]))

    assert [town.market.operations.get(name).state for name in names] == [OperationState.DONE] * 3
    assert [w for w, *_ in town.disks[A].done if w in ("stop", "start", "restart")] == [
        "stop",
        "start",
        "restart",
    ]
    asyncio.run(operate_lease(town.market, names[0]))
    assert len([w for w, *_ in town.disks[A].done if w == "stop"]) == 1


def test_another_image(town):
    """A new container with the same cards, volume, host key and ports; the old one goes when the new one can be used."""
    before = town.lease()
    told = do(
        town,
        OperationKind.REPLACE,
        image="debian:12",
        words=["sleep", "9"],
        sealed={"environment": {"A": "1"}},
    )
    lease = town.lease()

    assert told.state is OperationState.DONE
    assert json.loads(told.result)["image"] == "debian:12"
    assert town.containers == [lease.access.container] == ["subnet-l-1-2"]
    assert (lease.pod.image, lease.pod.words, lease.pod.environment) == ("debian:12", ("sleep", "9"), ("A",))
    assert (lease.access.host_key, lease.access.ports) == (before.access.host_key, before.access.ports)
    assert (lease.card_uuids, lease.paid_from) == (before.card_uuids, before.paid_from)
    assert town.market.sealer.open("l-1", lease.sealed)["environment"] == {"A": "1"}


def test_another_image_has_its_ports_beside_those_that_are_there(town):
    """What its template publishes can be reached; ports that are published already keep their place on the machine."""
    before = town.lease()
    do(town, OperationKind.REPLACE, "op-1", image="jupyter", ports=[[8888, "tcp"], [22, "tcp"]])
    with_one = town.lease()
    do(town, OperationKind.REPLACE, "op-2", image="vllm", ports=[[8888, "tcp"], [8000, "tcp"]])
    lease = town.lease()

    assert [(p.inside, p.protocol) for p in with_one.access.ports] == [(22, "tcp"), (8888, "tcp")]
    assert with_one.access.ports[0] == before.access.ports[0]
    assert lease.access.ports[:2] == with_one.access.ports
    assert [p.inside for p in lease.access.ports] == [22, 8888, 8000]
    strange = do(town, OperationKind.REPLACE, "op-3", image="vllm", ports=[["8888"]])
    assert (strange.state, strange.party) == (OperationState.FAILED, Party.RENTER)
    assert town.lease().access == lease.access


@pytest.mark.parametrize("what", ["pull", "create", "start", "knock"])
def test_another_image_that_does_not_come_up_leaves_the_old_one(town, what):
    """The old container goes on, with all that was in it."""
    before, disk = town.lease(), town.disks[A]
    failures = iter([ContainerRefused(what, "NO_SPACE", "no space left")])
    disk.fails[what] = lambda: next(failures, None)
    told = do(town, OperationKind.REPLACE, image="debian:12")

    assert (told.state, told.party) == (OperationState.FAILED, Party.MACHINE)
    assert town.containers == ["subnet-l-1-1"]
    assert disk.containers["subnet-l-1-1"].status == "running"
    assert town.lease().access == before.access
    assert town.lease().pod == before.pod


def test_keys_come_and_go(town):
    """By the key, whatever its comment; added twice it is there once; what is no key is refused, and nothing is done."""
    assert (
        do(town, OperationKind.KEYS, "k-1", add=[OTHER_KEY, OTHER_KEY, KEY_LINE]).state is OperationState.DONE
    )
    assert town.lease().pod.public_keys == (KEY_LINE, OTHER_KEY)
    assert do(town, OperationKind.KEYS, "k-2", remove=[f"{KEY_LINE} x"]).state is OperationState.DONE
    assert town.disks[A].keys["subnet-l-1-1"] == f"{OTHER_KEY}\n".encode()

    done = len(town.disks[A].done)
    told = do(town, OperationKind.KEYS, "k-3", add=['command="id" ssh-ed25519 AAAA'])
    assert (told.state, told.party) == (OperationState.FAILED, Party.RENTER)
    assert len(town.disks[A].done) == done


def test_as_many_keys_as_may_be(tmp_path, engine):
    """Sixty-four are let in at the hand-over, and after every stop and start: the one that we probe with is none of them."""
    keys = tuple(KEY_LINE.replace("renter", f"key-{number}") for number in range(64))
    town = Town(tmp_path, engine, ("a",), now=Clock())
    town.ask(pod=Pod("ubuntu", public_keys=keys))
    asyncio.run(rent_lease(town.market, "l-1"))
    for kind in (OperationKind.STOP, OperationKind.START, OperationKind.REBOOT):
        assert do(town, kind).reason == ""
    town.market.close()

    assert town.lease().state is RentalState.ACTIVE
    assert town.disks[A].keys["subnet-l-1-1"].decode().splitlines() == list(keys)


def tar(top="data", **files):
    """A tar archive as an engine makes it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def test_a_backup_is_the_bytes_and_comes_back(town):
    """Into the folder that it came from, and into one of another name: what is in it is the same byte for byte."""
    disk, content = town.disks[A], {"a": bytes(range(256)) * 999, "b": b""}
    disk.files = {"/data": tar(**content)}
    told = json.loads(do(town, OperationKind.BACKUP, source="volume:data").result)
    backup = town.market.backups.get(told["backup_id"])
    file = town.folder / "backups" / f"{backup.backup_id}.tar"

    assert file.read_bytes() == disk.files["/data"]
    assert (backup.state, backup.size_bytes, backup.blake2b) == ("kept", told["size_bytes"], told["blake2b"])
    assert file.stat().st_mode & 0o777 == 0o600
    assert do(town, OperationKind.RESTORE, "r-1", backup_id=backup.backup_id, target="volume:data").state is (
        OperationState.DONE
    )
    assert disk.files["/"] == disk.files["/data"]
    do(town, OperationKind.RESTORE, "r-2", backup_id=backup.backup_id, target="path:/srv/copy")
    with tarfile.open(fileobj=io.BytesIO(disk.files["/"])) as archive:
        found = {m.name: archive.extractfile(m).read() for m in archive}
    assert found == {f"srv/copy/{name}": value for name, value in content.items()}


def test_a_copy_is_left_to_a_run_that_has_a_slot_for_it(town):
    """Much data takes long: the run of a stop does what comes before the backup, and asks for a run of the backup's own kind."""
    town.disks[A].files["/data"] = tar()
    stop = ask(town, OperationKind.REBOOT)
    town.clock.wait(seconds=1)
    backup = ask(town, OperationKind.BACKUP, source="volume:data")
    for work in town.market.works.unstarted():
        town.market.works.started(
            work.work_id, "run"
        )  # that of the backup has found the lease at work, and is over
    asyncio.run(operate_lease(town.market, stop))
    stands = [town.market.operations.get(name).state for name in (stop, backup)]
    (again,) = town.market.works.unstarted()
    asyncio.run(operate_lease(town.market, again.subject))

    assert stands == [OperationState.DONE, OperationState.ASKED]
    assert (again.kind, again.subject) == (WorkKind.COPY, backup)
    assert town.market.operations.get(backup).state is OperationState.DONE


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"source": "volume:other"}, "source is 'volume:other'"),
        ({"source": "path:data"}, "source is 'path:data'"),
        ({"source": "path:/a/../b"}, "source is"),
        ({}, "source is 'nothing'"),
    ],
)
def test_what_lies_nowhere_is_not_backed_up(town, arguments, why):
    """The renter is told what would do."""
    told = do(town, OperationKind.BACKUP, **arguments)

    assert (told.state, told.party) == (OperationState.FAILED, Party.RENTER)
    assert why in told.reason


def test_a_damaged_backup_is_not_restored(town):
    """Its digest is another: nothing is sent."""
    town.disks[A].files = {"/data": tar(a=b"1")}
    name = json.loads(do(town, OperationKind.BACKUP, source="volume:data").result)["backup_id"]
    file = town.folder / "backups" / f"{name}.tar"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    told = do(town, OperationKind.RESTORE, backup_id=name, target="volume:data")

    assert (told.state, told.party) == (OperationState.FAILED, Party.PLATFORM)
    assert "is damaged" in told.reason
    assert "/" not in town.disks[A].files


def test_a_backup_that_breaks_off_is_none(town):
    """No file, and the row says that it failed."""
    town.disks[A].fails["backup"] = HostAway("talk", "gone")
    told = do(town, OperationKind.BACKUP, source="volume:data")

    assert told.state is OperationState.FAILED
    assert [b.state for b in town.market.backups.of_renter("r-l-1")] == ["failed"]
    assert list((town.folder / "backups").iterdir()) == []


def test_a_backup_leaves_room_on_its_disk(tmp_path):
    """All but full, it is refused: the books may be on the same disk."""
    with (tmp_path / "draft").open("wb") as file:
        keep_room(file, 0)
        with pytest.raises(StorageError, match="bytes left"):
            keep_room(file, 1 << 62)


def test_links_are_renamed_with_their_folder():
    """A hard link in the archive points to the file under its new name."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        first = tarfile.TarInfo("data/a")
        first.size = 1
        archive.addfile(first, io.BytesIO(b"1"))
        link = tarfile.TarInfo("data/b")
        link.type, link.linkname = tarfile.LNKTYPE, "data/a"
        archive.addfile(link)
    made.seek(0)

    with tarfile.open(fileobj=io.BytesIO(b"".join(renamed(made, "new")))) as archive:
        assert [(m.name, m.linkname) for m in archive] == [("new/a", ""), ("new/b", "new/a")]


# --- ends ------------------------------------------------------------------------------------------


def end(town, name="l-1"):
    """Ask for its end, and have it torn down."""
    ask_end(town.market.rentals, name, town.clock(), Party.RENTER, "enough")
    town.clock.wait(minutes=1)
    asyncio.run(end_lease(town.market, name))
    return town.lease(name)


def test_nothing_is_left_of_a_lease_but_what_outlives_it(town):
    """Container, cards and keys go; the volume stays for the next lease; paid is until the end was asked for."""
    town.clock.wait(minutes=30)
    lease = end(town)

    assert (lease.state, lease.paid_s, lease.party) == (RentalState.ENDED, 1_800, Party.RENTER)
    assert (town.containers, town.market.rentals.held()) == ([], {})
    assert len(town.disks[A].volumes) == 1
    assert town.market.volumes.get("r-l-1", "data").lease_id == ""
    assert lease.sealed == b""
    assert town.market.money.balance("renter:r-l-1") == 99_500_000
    assert town.market.money.books().is_even
    assert town.market.certificates.of_lease("l-1")[0].occasion == "return"


def test_a_volume_of_the_lease_alone_is_wiped(tmp_path, engine):
    """It was not to be kept: its data and its name are gone."""
    town = Town(tmp_path, engine, ("a",), now=Clock())
    town.ask(pod=Pod("ubuntu", mounts=(PodMount("tmp", "/tmp/x", is_kept=False),)))
    asyncio.run(rent_lease(town.market, "l-1"))
    assert len(town.disks[A].volumes) == 1
    end(town)
    town.market.close()

    assert town.disks[A].volumes == {}
    assert town.market.volumes.of_renter("r-l-1") == ()


def test_a_machine_that_is_away_costs_nothing_more_and_is_tried_again(town):
    """Settled at once, its cards held until it is back; then all of it goes."""
    town.disks[A].fails["enter"] = HostAway("connect", "refused")
    lease = end(town)
    assert lease.state is RentalState.ENDING
    assert town.market.rentals.held() != {}
    assert town.market.events.after(0, limit=1_000)[-1].kind == "STILL_AWAY"
    balance = town.market.money.balance("renter:r-l-1")

    town.clock.wait(hours=5)
    town.disks[A].fails.clear()
    asyncio.run(end_lease(town.market, "l-1"))
    assert (town.lease().state, town.containers) == (RentalState.ENDED, [])
    assert town.market.money.balance("renter:r-l-1") == balance


def test_a_machine_that_stays_away_is_given_up(town):
    """After a day the lease is over and its cards are free: what it left is said to go when the machine is back."""
    town.disks[A].fails["enter"] = HostAway("connect", "refused")
    end(town)
    town.clock.wait(hours=25)
    asyncio.run(end_lease(town.market, "l-1"))
    lease = town.lease()

    assert lease.state is RentalState.ENDED
    assert lease.reason.startswith("enough; given up: enter: connect: refused")
    assert town.market.rentals.held() == {}
    assert town.containers == ["subnet-l-1-1"]


@pytest.mark.parametrize("is_kept", [False, True])
def test_what_a_machine_that_was_given_up_has_of_a_new_volume_is_wiped_when_it_is_back(
    tmp_path, engine, is_kept
):
    """The lease was ended before its hand-over: nobody has the volume, its name is free, and the sweep wipes what is there."""
    town = Town(tmp_path, engine, ("a",), now=Clock())
    disk = town.disks[A]

    def end_and_vanish():
        ask_end(town.market.rentals, "l-1", town.clock(), Party.RENTER, "enough")
        disk.fails |= dict.fromkeys(("enter", "remove", "remove volume", "list"), HostAway("talk", "gone"))

    disk.fails["knock"] = end_and_vanish
    town.ask(pod=Pod("ubuntu", mounts=(PodMount("tmp", "/tmp/x", is_kept=is_kept),)))
    asyncio.run(rent_lease(town.market, "l-1"))
    town.clock.wait(hours=25)
    asyncio.run(end_lease(town.market, "l-1"))
    assert town.lease().state is RentalState.ENDED
    assert len(disk.volumes) == 1
    disk.fails.clear()
    told = sweep(Engine(disk), engine, HOTKEY, A, now=town.clock, deadline=0.0)
    kept = town.market.volumes.of_renter("r-l-1")
    town.market.close()

    assert (told.wiped, town.containers, disk.volumes) == (("r-l-1/tmp",), [], {})
    assert [(v.name, v.state, v.executor_key) for v in kept] == (
        [("tmp", VolumeState.NEW, "")] if is_kept else []
    )


def test_what_was_the_leases_alone_is_wiped_when_its_machine_is_back(tmp_path, engine):
    """Given up with its volume: the name is not free, and the sweep wipes what is there as soon as it can."""
    town = Town(tmp_path, engine, ("a",), now=Clock())
    town.ask(pod=Pod("ubuntu", mounts=(PodMount("tmp", "/tmp/x", is_kept=False),)))
    asyncio.run(rent_lease(town.market, "l-1"))
    town.disks[A].fails["enter"] = HostAway("connect", "refused")
    end(town)
    town.clock.wait(hours=25)
    asyncio.run(end_lease(town.market, "l-1"))
    assert [v.name for v in town.market.volumes.doomed()] == ["tmp"]
    sweep(Engine(town.disks[A]), engine, HOTKEY, A, now=town.clock, deadline=0.0)
    town.market.close()

    assert (town.containers, town.disks[A].volumes) == ([], {})
    assert town.market.volumes.of_renter("r-l-1") == ()


def test_cards_that_do_not_come_back_well_are_told(town):
    """The return proof fails: the machine's, for its record; the lease ends all the same."""
    town.disks[A].fails["prove leased"] = HostAway("talk", "gone")
    lease = end(town)
    told = [e for e in town.market.events.after(0, limit=1_000) if e.kind == "RETURN_PROOF_FAILED"]

    assert (lease.state, town.market.rentals.held()) == (RentalState.ENDED, {})
    assert [json.loads(e.facts) for e in told] == [{"party": "machine"}]


def test_an_end_that_is_asked_for_while_it_is_provisioned_undoes_it(tmp_path, engine):
    """The run sees it within half a second, removes what it has made and ends the lease: nothing is charged."""
    town = Town(tmp_path, engine, ("a",))
    town.ask()

    def cancel():
        ask_end(town.market.rentals, "l-1", town.clock(), Party.RENTER, "changed my mind")

    town.disks[A].fails["start"] = cancel
    asyncio.run(rent_lease(town.market, "l-1"))
    town.market.close()
    lease = town.lease()

    assert (lease.state, lease.party, lease.reason) == (RentalState.ENDED, Party.RENTER, "changed my mind")
    assert (town.containers, town.market.rentals.held()) == ([], {})
    assert town.market.money.bill("l-1") == ()


def test_an_end_is_the_end_of_what_was_asked_before(town):
    """A stop that waits is not done any more; the lease ends with whoever has it."""
    name = ask(town, OperationKind.STOP)
    end(town)

    told = town.market.operations.get(name)
    assert (told.state, told.reason) == (OperationState.FAILED, "the lease has ended")
    assert town.lease().state is RentalState.ENDED


def test_before_anything_was_done_an_end_is_at_once(town):
    """A request that waits: no machine is asked."""
    town.ask("l-2")
    done = len(town.disks[A].done)

    assert end(town, "l-2").state is RentalState.ENDED
    assert len(town.disks[A].done) == done


def test_a_reserved_lease_keeps_its_cards_while_it_is_stopped(tmp_path, engine):
    """Its hours are paid, and nobody else gets them."""
    town = Town(tmp_path, engine, ("a",), now=Clock())
    town.ask(wish=Wish(mode=Mode.RESERVED, hours=1))
    asyncio.run(rent_lease(town.market, "l-1"))
    do(town, OperationKind.STOP)
    lease = town.lease()
    town.market.close()

    assert (lease.state, lease.is_holding) == (RentalState.STOPPED, True)
    assert lease.paid_from is not None


def test_a_reserved_lease_starts_again_in_the_hours_that_are_paid(tmp_path, engine):
    """All its renter had went into them: nothing is taken from the balance, so an empty one refuses no start."""
    town = Town(tmp_path, engine, ("a",), now=Clock())
    town.ask(usd=1, wish=Wish(mode=Mode.RESERVED, hours=1))
    asyncio.run(rent_lease(town.market, "l-1"))
    do(town, OperationKind.STOP)
    operation = do(town, OperationKind.START)
    town.market.close()

    assert town.market.money.balance("renter:r-l-1") == 0
    assert (operation.state, town.lease().state) == (OperationState.DONE, RentalState.ACTIVE)
