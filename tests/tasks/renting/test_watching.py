"""A round of watching: what is found becomes what is kept, charged and done, each machine by itself."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from storage.claims import holder_of
from storage.health import Health
from storage.money import Money
from storage.operations import Operations
from storage.rental import (
    CardUse,
    Mode,
    Operation,
    OperationKind,
    OperationState,
    Party,
    RentalState,
    Terms,
    Wish,
)
from storage.rentals import Rentals
from storage.renter import Renter
from storage.renters import Renters
from storage.runs import this_run
from tasks.edges.engine import Stats
from tasks.errors import HostAway
from tasks.policy import RentingPolicy
from tasks.renting import watching
from tasks.renting.limits import StepKind
from tasks.renting.looking import Found
from tasks.renting.money import granted
from tasks.renting.moves import end_asked
from tasks.renting.operators import allow_renter, end_stopped, stop_renter
from tasks.renting.settling import commit
from tasks.renting.watching import is_overdue
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, USD, after, rental, running

POLICY = RentingPolicy(meter_every_s=60, look_deadline_s=0.2, goodwill_s=600)
SECOND = 3_600 * USD
BUSY = Found(cards=(CardUse("GPU-a", 80.0, 900), CardUse("GPU-b", 3.0, 10)))
IDLE = Found(cards=(CardUse("GPU-a", 1.0, 900), CardUse("GPU-b", 0.0, 10)))
GONE = Found(dead="gone")


class Machines:
    """The machines as a look finds them: what each tells of its leases, or what it raises; and the clock."""

    def __init__(self, engine):
        self.engine, self.told, self.now = engine, {}, NOON
        self.looked = []

    async def look_at(self, executor_key, leases):
        """What was put there for the machine; a lease nobody said anything of is busy."""
        self.looked.append(executor_key)
        told = self.told.get(executor_key, BUSY)
        if isinstance(told, Exception):
            raise told
        if told == "silent":
            await asyncio.sleep(60)
        return {lease.lease_id: told for lease in leases}

    def round(self, seconds, policy=POLICY):
        """A whole round so long after noon; what was done, by lease."""
        self.now = after(seconds)

        async def work():
            run = watching.begin(self.engine, policy, lambda: self.now, self.look_at)
            done = await watching.attend_all(run)
            watching.settle_open_ends(run)
            watching.finish(run)
            return {name: step.kind for name, step in done.items()}

        return asyncio.run(work())

    def rounds(self, *seconds, policy=POLICY):
        """Several."""
        return [self.round(at, policy) for at in seconds]


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def machines(engine):
    """A renter with 10,000 dollars."""
    Renters(engine).add(Renter("5Renter", NOON))
    Money(engine).post(granted("5Renter", 10_000 * USD, "start", NOON, ""))
    return Machines(engine)


def let(machines, name="l-1", price=USD, card=None, **changes):
    """A lease that was handed over at noon, in the state."""
    told = {"executor_key": "5Miner/a", "card_uuids": (card or f"GPU-{name}",), **changes}
    lease = replace(running(price, **told), lease_id=name, idempotency_key=name)
    rentals = Rentals(machines.engine)
    before = rental(name)
    rentals.request(before)
    assert rentals.move(before, replace(lease, version=1))
    return rentals.get(name)


def lease_of(machines, name="l-1"):
    """The lease as it stands."""
    return Rentals(machines.engine).get(name)


def test_a_lease_that_runs_well_is_charged_and_measured(machines):
    """Once a minute to the second, and a sample in every round; nothing else happens."""
    stats = Stats(250.0, 1 << 30, 1 << 34, 5, 6, 7, 8, 9)
    machines.told["5Miner/a"] = replace(BUSY, stats=stats)
    let(machines, price=SECOND)
    done = machines.rounds(0, 15, 30, 45, 60, 75)
    health, money = watching.LeaseHealth(machines.engine), Money(machines.engine)

    assert done == [{"l-1": StepKind.NOTHING}] * 6
    assert money.metered("l-1") == 60 * USD
    assert health.get("l-1") == Health(
        "l-1", after(75), after(75), metered_at=after(60), sampled_at=after(75)
    )
    samples = health.metrics("l-1")
    assert [one.at for one in samples] == [after(s) for s in (0, 15, 30, 45, 60, 75)]
    assert (samples[0].gpu_percent, samples[0].cpu_percent, samples[0].pids) == (80.0, 250.0, 9)
    assert money.books().is_even


def test_a_machine_that_is_silent_costs_only_itself(machines):
    """It is away, and so are its leases; the other machine's are looked at, and one that raises is no other's trouble."""
    for name in "abc":
        let(machines, f"l-{name}", executor_key=f"5Miner/{name}")
    machines.told |= {"5Miner/a": "silent", "5Miner/b": HostAway("connect", "refused")}
    machines.round(0, replace(POLICY, look_deadline_s=-1.9))
    found = watching.LeaseHealth(machines.engine).all(["l-a", "l-b", "l-c"])

    assert [found[name].away_since for name in ("l-a", "l-b", "l-c")] == [after(0), after(0), None]
    assert found["l-c"].well_at == after(0)


def test_a_machine_whose_answer_breaks_our_code_costs_only_itself(machines):
    """Whatever error comes of what it told: it counts as away, and all others are charged."""
    let(machines, "l-1", price=SECOND)
    let(machines, "l-2", price=SECOND, executor_key="5Miner/b")
    machines.told["5Miner/b"] = OverflowError("date value out of range")

    assert machines.round(60) == {"l-1": StepKind.NOTHING, "l-2": StepKind.NOTHING}
    assert Money(machines.engine).metered("l-1") == 60 * USD
    assert watching.LeaseHealth(machines.engine).get("l-2").away_since == after(60)


def test_a_machine_that_stays_away_breaks_its_lease(machines):
    """After five minutes it ends as the machine's fault, and what was paid since it was last seen well comes back at once."""
    let(machines, price=SECOND)
    machines.round(1_000)
    machines.told["5Miner/a"] = HostAway("connect", "refused")
    done = machines.rounds(1_015, 1_150, 1_300, 1_314, 1_315)
    lease, money = lease_of(machines), Money(machines.engine)

    assert [one["l-1"] for one in done] == [StepKind.NOTHING] * 4 + [StepKind.END]
    assert (lease.end_party, lease.end_asked_at) == (Party.MACHINE, after(1_315))
    assert money.balance("renter:5Renter") == (10_000 - 1_315 + 315 + 600) * USD
    assert money.books().is_even


def test_when_most_machines_are_away_it_is_us(machines):
    """Of five machines three give no answer: nobody's lease is ended for it until they are fewer."""
    for name in "abcde":
        let(machines, f"l-{name}", executor_key=f"5Miner/{name}")
    away = HostAway("connect", "no route")
    machines.told |= {f"5Miner/{name}": away for name in "abc"}
    done = machines.rounds(0, 299, 300, 400)
    assert StepKind.END not in {kind for one in done for kind in one.values()}

    machines.told.pop("5Miner/c")
    machines.round(401)
    done = machines.round(402)
    assert [done[f"l-{name}"] for name in "abcde"] == [StepKind.END] * 2 + [StepKind.NOTHING] * 3


def test_a_dead_container_is_ended_the_second_time(machines):
    """Credited in the same round; a container that lives again in between is believed."""
    let(machines, price=SECOND)
    money = Money(machines.engine)
    machines.round(0)
    for told, kind in (GONE, "NOTHING"), (BUSY, "NOTHING"), (GONE, "NOTHING"), (GONE, "END"):
        machines.told["5Miner/a"] = told
        assert machines.round((machines.now - NOON).total_seconds() + 15)["l-1"].name == kind
    assert lease_of(machines).end_reason == "its container was found gone"
    assert money.balance("renter:5Renter") == 10_000 * USD


def test_a_container_that_is_being_changed_is_not_dead(machines):
    """While somebody works on the lease, that it stands still means nothing."""
    let(machines)
    claims, holder = watching.Stores.of(machines.engine).claims, holder_of(this_run())
    assert claims.take("l-1", holder, after(10_000), NOON)
    machines.told["5Miner/a"] = GONE

    assert machines.rounds(0, 15, 30) == [{"l-1": StepKind.NOTHING}] * 3
    claims.release("l-1", holder)
    assert machines.rounds(45, 60) == [{"l-1": StepKind.NOTHING}, {"l-1": StepKind.END}]


def test_a_gap_in_which_nobody_looked_counts_for_nothing(machines):
    """Away before it and after it is not away all the time; nor was it idle."""
    let(machines, terms=Terms(idle_below_percent=5, idle_for_s=600))
    machines.told["5Miner/a"] = HostAway("connect", "refused")
    machines.round(0)
    assert machines.round(5_000) == {"l-1": StepKind.NOTHING}

    machines.told["5Miner/a"] = IDLE
    machines.rounds(5_015, 5_030)
    assert machines.round(9_000) == {"l-1": StepKind.NOTHING}


def test_an_idle_lease_is_stopped_by_an_operation(machines):
    """Idle for its renter's ten minutes: a stop is asked for, once, with its reason; use in between begins anew."""
    let(machines, terms=Terms(idle_below_percent=5, idle_for_s=600))
    machines.told["5Miner/a"] = IDLE
    machines.rounds(0, 300)
    machines.told["5Miner/a"] = BUSY
    machines.round(315)
    machines.told["5Miner/a"] = IDLE
    done = machines.rounds(330, 600, 900, 914, 915, 930)

    assert [one["l-1"] for one in done] == [StepKind.NOTHING] * 4 + [StepKind.STOP] * 2
    [stop] = Operations(machines.engine).of_lease("l-1")
    assert (stop.kind, stop.asked_at) == (OperationKind.STOP, after(915))
    assert stop.reason == "idle: GPU use below 5 % for 600 s"


def test_a_lease_that_cannot_be_stopped_is_ended(machines):
    """Its cap is reached, and the stop fails for an hour, each time that it is asked for: nobody goes on paying, or using it."""
    operations = Operations(machines.engine)
    let(machines, price=SECOND, terms=Terms(cap_micro_usd=100 * USD))
    done = []
    for at in range(300, 4_500, 300):
        done.append(machines.round(at)["l-1"])
        for stop in operations.open("l-1"):
            assert " " in stop.idempotency_key  # no renter's key has one
            over = replace(stop, state=OperationState.FAILED, ended_at=after(at))
            assert operations.move(lease_of(machines), stop, over)
        if done[-1] is not StepKind.STOP or lease_of(machines).end_asked_at:
            break

    assert lease_of(machines).end_asked_at == after(3_900)
    assert lease_of(machines).end_reason == "its cap is reached, and it could not be stopped"
    assert Money(machines.engine).metered("l-1") == 100 * USD


def test_only_stops_that_failed_in_a_row_are_overdue():
    """One that waits for a worker, one that was done since, and those of long ago: none of them counts."""
    failed, done, asked = OperationState.FAILED, OperationState.DONE, OperationState.ASKED

    def overdue(*stops, key="watch 1 1", now=10_000):
        told = [Operation(f"o-{at}", "l-1", key, OperationKind.STOP, s, after(at)) for at, s in stops]
        return is_overdue(told, after(now))

    row = [(at, failed) for at in range(9_900, 6_000, -300)]
    assert overdue(*row)
    assert overdue((9_990, asked), *row)
    assert not overdue(*row, key="a-renters")
    assert not overdue((9_950, done), *row)
    assert not overdue(*row[:11])
    assert not overdue(*row, now=20_000)
    assert not overdue((1_000, asked))


def test_a_balance_that_ends_is_told_and_taken_back(machines):
    """A warning once; a deposit takes it back; what all leases of the renter burn counts, posted or not."""
    money = Money(machines.engine)
    money.post(granted("5Renter", -9_997 * USD, "spent", NOON, ""))
    let(machines, "l-1", price=USD)
    let(machines, "l-2", price=USD, executor_key="5Miner/b")
    done = machines.rounds(0, 1_800, 1_815)
    assert [one["l-1"] for one in done] == [StepKind.NOTHING, StepKind.WARN, StepKind.NOTHING]
    assert lease_of(machines).warned_at == after(1_800)

    money.post(granted("5Renter", 100 * USD, "more", NOON, ""))
    assert machines.round(1_830)["l-1"] is StepKind.CALM
    assert lease_of(machines).warned_at is None


def test_a_balance_is_never_overrun(machines):
    """Looked at every 15 s, charged once a minute: it is stopped while there is money, for all leases together."""
    money = Money(machines.engine)
    money.post(granted("5Renter", -9_000 * USD, "spent", NOON, ""))
    let(machines, "l-1", price=SECOND)
    let(machines, "l-2", price=SECOND, executor_key="5Miner/b")
    policy = replace(POLICY, warn_s=0)
    at = 0
    while machines.round(at, policy)["l-1"] is StepKind.NOTHING:
        at += 15

    assert at == 480
    assert 1_000 * USD - 2 * at * USD >= 2 * 15 * USD


def test_what_changed_meanwhile_is_judged_anew(machines):
    """A lease that its renter prolongs while the look goes on is not ended by what was seen before."""
    lease = let(machines, ends_by=after(100))
    rentals = Rentals(machines.engine)
    look_at = machines.look_at

    async def prolonging(key, leases):
        rentals.move(lease, replace(lease, version=lease.version + 1, ends_by=after(1_000)))
        return await look_at(key, leases)

    machines.look_at = prolonging
    machines.round(100)
    assert lease_of(machines).end_asked_at is None
    machines.look_at = look_at
    assert machines.round(115) == {"l-1": StepKind.NOTHING}
    assert machines.round(1_000) == {"l-1": StepKind.END}


def test_one_round_at_a_time(machines):
    """A second watch does nothing while the first is at it; one that was killed is taken over."""
    let(machines)
    run = watching.begin(machines.engine, POLICY, lambda: NOON, machines.look_at)
    assert watching.begin(machines.engine, POLICY, lambda: after(1), machines.look_at) is None
    later = watching.begin(machines.engine, POLICY, lambda: after(61), machines.look_at)
    watching.finish(run)
    assert watching.begin(machines.engine, POLICY, lambda: after(62), machines.look_at) is None

    watching.finish(later)
    assert machines.round(62) == {"l-1": StepKind.NOTHING}


def test_an_end_whose_settlement_was_killed_is_settled_later(machines):
    """Asked for, and nothing charged yet: the next round does it."""
    lease = let(machines, price=SECOND)
    assert Rentals(machines.engine).move(lease, end_asked(lease, after(10), Party.RENTER, "cancelled"))
    machines.round(50)

    assert Money(machines.engine).metered("l-1") == 10 * USD


def test_an_escrow_of_a_lease_that_is_over_is_emptied(machines):
    """A hand-over that was killed after its hours were paid ahead, and then failed: they come back."""
    money, wish = Money(machines.engine), Wish(mode=Mode.RESERVED, hours=1)
    lease = let(machines, price=SECOND, wish=wish, active_at=None, paid_from=None)
    commit(money, lease, NOON)
    rentals = Rentals(machines.engine)
    over = replace(lease, version=2, state=RentalState.FAILED, ended_at=after(5), is_holding=False)
    rentals.move(lease, over)
    assert money.balance("renter:5Renter") == 6_400 * USD

    machines.round(15)
    assert money.balance("renter:5Renter") == 10_000 * USD


def test_an_operator_stops_a_renter(machines):
    """What runs is told at once and ends after the grace; what is not handed over yet, too; nothing of others is touched."""
    Renters(machines.engine).add(Renter("other", NOON))
    Money(machines.engine).post(granted("other", 100 * USD, "other", NOON, ""))
    let(machines)
    let(machines, "l-other", executor_key="5Miner/b", renter_id="other")
    Rentals(machines.engine).request(rental("l-new"))
    noticed = stop_renter(machines.engine, "5Renter", NOON, "mining", after(300))
    assert {lease.lease_id: lease.notice_until for lease in noticed} == {
        "l-1": after(300),
        "l-new": after(300),
    }

    assert machines.round(299)["l-1"] is StepKind.NOTHING
    assert end_stopped(machines.engine, after(299)) == ()
    done = machines.round(300)
    assert end_stopped(machines.engine, after(300)) == ("l-new",)
    assert (done["l-1"], done["l-other"]) == (StepKind.END, StepKind.NOTHING)
    for name in ("l-1", "l-new"):
        lease = lease_of(machines, name)
        assert (lease.end_party, lease.end_reason) == (
            Party.RENTER,
            "an operator stopped the renter: mining",
        )
    assert stop_renter(machines.engine, "nobody", NOON, "", NOON) is None


def test_a_renter_that_is_allowed_again_goes_on(machines):
    """Within the grace nothing has ended, and nothing ends after it."""
    let(machines)
    stop_renter(machines.engine, "5Renter", NOON, "mistake", after(300))
    assert allow_renter(machines.engine, "5Renter", after(100))
    assert not allow_renter(machines.engine, "nobody", NOON)

    assert lease_of(machines).notice_until is None
    assert machines.round(400)["l-1"] is StepKind.NOTHING
    assert end_stopped(machines.engine, after(400)) == ()


def test_a_stopped_lease_is_left_alone(machines):
    """Its container stands still: it is neither dead nor idle, nothing is measured, and nothing is charged."""
    lease = let(machines, price=SECOND)
    still = replace(
        lease,
        version=2,
        state=RentalState.STOPPED,
        stopped_at=after(5),
        paid_s=5,
        paid_from=None,
        is_holding=False,
    )
    Rentals(machines.engine).move(lease, still)
    machines.told["5Miner/a"] = Found(dead="stopped")
    assert machines.rounds(15, 30, 45) == [{"l-1": StepKind.NOTHING}] * 3
    health = watching.LeaseHealth(machines.engine)

    assert Money(machines.engine).metered("l-1") == 5 * USD
    assert health.metrics("l-1") == ()
    assert health.get("l-1").dead_looks == 0


def test_only_what_stands_is_looked_at(machines):
    """Machines of leases that are not handed over, or are being ended, are others' work."""
    lease = let(machines)
    let(machines, "l-2", executor_key="5Miner/b")
    Rentals(machines.engine).move(lease, end_asked(lease, after(1), Party.RENTER, ""))
    Rentals(machines.engine).request(rental("l-3"))
    machines.round(15)

    assert machines.looked == ["5Miner/b"]


def test_a_round_takes_the_time_of_its_slowest_machine(machines):
    """Fifty machines that each take a moment are looked at together."""
    for n in range(50):
        let(machines, f"l-{n:02}", executor_key=f"5Miner/{n}")
    together = 0
    most = 0

    async def slow(_key, leases):
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0)
        together -= 1
        return {lease.lease_id: BUSY for lease in leases}

    machines.look_at = slow
    assert len(machines.round(0)) == 50
    assert most > 10
    assert timedelta(0) == machines.now - NOON
