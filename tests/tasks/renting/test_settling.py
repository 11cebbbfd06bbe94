"""A lease's money in the ledger, from commitment to end: once, whoever repeats it and whoever dies half way."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import ShortOfFunds
from storage.health import Health, LeaseHealth
from storage.money import Money
from storage.rental import Mode, Party, RentalState, Terms, Wish
from tasks.policy import RentingPolicy
from tasks.renting.money import granted, metered
from tasks.renting.moves import end_asked, failed, stopped
from tasks.renting.settling import Settlement, charge, commit, settle
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, USD, after, rental, running

POLICY = RentingPolicy(platform_ppm=50_000, early_end_ppm=250_000, goodwill_s=600)
SECOND = 3_600 * USD


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def money(engine):
    """A ledger in which the renter has 10,000 dollars."""
    money = Money(engine)
    money.post(granted("5Renter", 10_000 * USD, "start", NOON, ""))
    return money


@pytest.fixture
def health(engine):
    """The looks."""
    return LeaseHealth(engine)


def reserved(hours=1, **changes):
    """A lease at a dollar a second that committed to so many hours."""
    return running(SECOND, wish=Wish(mode=Mode.RESERVED, hours=hours), attempt=1, **changes)


def ended(lease, seconds, party=Party.RENTER):
    """The lease with its end asked for."""
    return end_asked(lease, after(seconds), party, "because")


def test_an_end_is_charged_to_the_second(money, health):
    """Metered on the way or not, repeated or not: ten seconds are ten dollars, nothing is given back, the books are even."""
    charge(money, running(SECOND), after(4), POLICY)
    charge(money, running(SECOND), after(4), POLICY)
    over = ended(running(SECOND), 10)
    told = [settle(money, health, over, after(60), POLICY) for _ in range(3)]

    assert told == [Settlement(10 * USD, 0, 0)] * 3
    assert money.balance("renter:5Renter") == 9_990 * USD
    assert money.balance("miner:5Miner") == 9_500_000
    assert money.books().is_even


def test_a_charge_that_raced_with_the_end_is_given_back(money, health):
    """It saw the lease as it was before; the settlement after it corrects it, and the next one does not do it again."""
    lease, over = running(SECOND), ended(running(SECOND), 10)
    settle(money, health, over, after(11), POLICY)
    charge(money, lease, after(15), POLICY)
    told = [settle(money, health, over, after(60), POLICY) for _ in range(2)]

    assert told == [Settlement(10 * USD, 0, 0)] * 2
    assert money.balance("renter:5Renter") == 9_990 * USD


def test_a_charge_at_the_very_moment_of_a_settlement_leaves_nothing_out(engine, money, health):
    """It has the name of ours: the rest is charged under another, before the escrow is emptied."""

    class Raced(Money):
        def post(self, transfer, **floor):
            if transfer.kind == "METER" and not self.metered("l-1"):
                super().post(metered(lease, 0, after(4), POLICY.platform_ppm))
            return super().post(transfer, **floor)

    lease = reserved()
    commit(money, lease, NOON)
    settle(Raced(engine), health, ended(lease, 10, Party.MACHINE), after(10), POLICY)

    assert money.metered("l-1") == 10 * USD
    assert money.balance("escrow:l-1") == 0
    assert money.books().is_even


def test_a_fault_is_credited_in_the_same_settlement(money, health):
    """Seen well 30 s before: 630 of 5,000 s come back, from miner and platform in their shares."""
    health.save([Health("l-1", after(4_970), well_at=after(4_970))])
    told = [
        settle(money, health, ended(running(SECOND), 5_000, Party.MACHINE), after(5_001), POLICY)
        for _ in "ab"
    ]

    assert told == [Settlement(5_000 * USD, 630 * USD, 0)] * 2
    assert money.balance("renter:5Renter") == 10_000 * USD - 4_370 * USD
    assert money.balance("platform") == 4_370 * USD // 20


def test_a_fault_of_ours_costs_the_miner_nothing(money, health):
    """The platform gives it alone."""
    health.save([Health("l-1", after(4_970), well_at=after(4_970))])
    settle(money, health, ended(running(SECOND), 5_000, Party.PLATFORM), after(5_001), POLICY)

    assert money.balance("miner:5Miner") == 4_750 * USD
    assert money.balance("platform") == (250 - 630) * USD


def test_committed_hours_are_paid_ahead_and_run_out(money, health):
    """An hour into the escrow, drawn by the second; beyond it the balance is charged, and at the end the escrow is empty."""
    lease = reserved()
    commit(money, lease, NOON)
    commit(money, lease, NOON)
    assert (money.balance("escrow:l-1"), money.balance("renter:5Renter")) == (3_600 * USD, 6_400 * USD)
    charge(money, lease, after(1_000), POLICY)
    assert (money.balance("escrow:l-1"), money.balance("renter:5Renter")) == (2_600 * USD, 6_400 * USD)

    assert settle(money, health, ended(lease, 3_610), after(3_611), POLICY) == Settlement(3_610 * USD, 0, 0)
    assert (money.balance("escrow:l-1"), money.balance("renter:5Renter")) == (0, 6_390 * USD)


@pytest.mark.parametrize(
    ("party", "cost", "back"),
    [
        (Party.RENTER, 1_000 + 650, 1_950),
        (Party.NOBODY, 1_000 + 650, 1_950),
        (Party.MACHINE, 1_000, 2_600),
        (Party.PLATFORM, 1_000, 2_600),
    ],
)
def test_an_early_end_pays_a_part_of_what_is_left(money, health, party, cost, back):
    """A quarter of the unused hours; nothing of them when machine or platform broke the lease."""
    commit(money, reserved(), NOON)
    health.save([Health("l-1", after(1_000), well_at=after(1_000))])
    told = [settle(money, health, ended(reserved(), 1_000, party), after(1_001), POLICY) for _ in "ab"]

    is_broken = party in (Party.MACHINE, Party.PLATFORM)
    assert told == [Settlement(cost * USD, 600 * USD if is_broken else 0, back * USD)] * 2
    assert money.balance("escrow:l-1") == 0
    assert money.books().is_even


def test_what_a_cap_leaves_is_the_most_that_is_kept(money, health):
    """A cap that was lowered later holds for the part of the unused hours, too."""
    commit(money, reserved(), NOON)
    lease = reserved(terms=Terms(cap_micro_usd=1_100 * USD))

    told = settle(money, health, ended(lease, 1_000), after(1_001), POLICY)
    assert told == Settlement(1_100 * USD, 0, 2_500 * USD)


def test_a_hand_over_that_failed_costs_nothing(money, health):
    """What was committed for it comes back whole, once for each attempt, and no fault is credited beside it."""
    for attempt in (1, 2):
        lease = rental(
            state=RentalState.PROVISIONING,
            wish=Wish(mode=Mode.RESERVED, hours=1),
            micro_usd_per_hour=USD,
            executor_key="5Miner/a",
            attempt=attempt,
        )
        commit(money, lease, NOON)
        assert money.balance("escrow:l-1") == USD
        over = failed(lease, after(9), Party.MACHINE, "probe: no answer")
        assert settle(money, health, over, after(9), POLICY).cost_micro_usd == 0
        assert money.balance("renter:5Renter") == 10_000 * USD


@pytest.mark.parametrize("price", [USD, USD // 2, 2 * USD])
def test_what_an_attempt_paid_that_died_counts(money, health, price):
    """Killed after its hours were paid, handed over by the next attempt at any price: the escrow has them once."""
    wish = Wish(mode=Mode.RESERVED, hours=10)
    commit(money, running(USD, wish=wish, attempt=1), NOON)
    lease = running(price, wish=wish, attempt=2)
    commit(money, lease, NOON)

    assert money.balance("escrow:l-1") == 10 * price
    assert money.balance("renter:5Renter") == 10_000 * USD - 10 * price
    settle(money, health, ended(lease, 36_000), after(36_000), POLICY)
    assert money.balance("renter:5Renter") == 10_000 * USD - 10 * price


def test_who_has_too_little_commits_to_nothing(money):
    """The hand-over is refused, and the balance is as it was."""
    with pytest.raises(ShortOfFunds):
        commit(money, reserved(hours=3), NOON)
    assert money.balance("renter:5Renter") == 10_000 * USD


def test_a_lease_that_goes_on_is_not_settled(money, health):
    """Its end has to be asked for first."""
    with pytest.raises(ValueError, match="its end was not asked for"):
        settle(money, health, running(), NOON, POLICY)


@given(
    hours=st.integers(0, 2),
    steps=st.lists(st.tuples(st.integers(0, 3_000_000), st.sampled_from(["charge", "stop"])), max_size=8),
    party=st.sampled_from(Party),
    well=st.integers(-10, 20_000),
    cap=st.integers(0, 10**10),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_life_is_settled_evenly(engine, *, hours, steps, party, well, cap):
    """Whatever happened: the escrow is empty, the cap holds, the renter gets no more back than it gave, and settling again
    moves nothing.
    """
    money, health = Money(engine), LeaseHealth(engine)
    name = f"l-{money.books().transfers}"
    wish = Wish(mode=Mode.RESERVED, hours=hours) if hours else Wish()
    lease = replace(running(SECOND, wish=wish, attempt=1, terms=Terms(cap_micro_usd=cap)), lease_id=name)
    money.post(granted("5Renter", 10**12, name, NOON, ""))
    commit(money, lease, NOON)
    at = NOON
    for milliseconds, does in steps:
        at += timedelta(milliseconds=milliseconds)
        charge(money, lease, at, POLICY)
        if does == "stop" and lease.state is RentalState.ACTIVE:
            lease = stopped(lease, at)
    health.save([Health(name, at, well_at=after(well))])
    over = end_asked(lease, at, party, "")
    told = settle(money, health, over, at, POLICY)
    before = money.books()

    assert settle(money, health, over, at, POLICY) == told
    assert money.books() == before
    assert before.is_even
    assert money.balance(f"escrow:{name}") == 0
    assert 0 <= told.credit_micro_usd <= told.cost_micro_usd
    assert not cap or told.cost_micro_usd <= cap
