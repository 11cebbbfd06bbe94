"""The ledger: what is moved is moved once, comes from somewhere, and sums to zero under every crash and race."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from storage.database import migrate, open_database
from storage.errors import NotBalanced, ShortOfFunds
from storage.money import Money
from storage.rental import Entry, RentalState, Transfer
from tasks.renting.money import deposit, metered, renter
from tests.tasks.renting.leases import NOON, USD, rental

ACTIVE = rental(
    state=RentalState.ACTIVE, active_at=NOON, executor_key="5Miner/a", micro_usd_per_hour=3_600 * USD
)


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = open_database(f"sqlite:///{tmp_path}/subnet.db")
    migrate(engine)
    yield engine
    engine.dispose()


def test_money_moves_once(engine):
    """A deposit that is told of three times is credited once; the books are even."""
    money = Money(engine)
    told = [money.post(deposit("5Renter", 10 * USD, "359-1", NOON)) for _ in range(3)]

    assert told == [True, False, False]
    assert money.balances() == {"renter:5Renter": 10 * USD, "outside": -10 * USD}


@pytest.mark.parametrize(
    "entries", [(Entry("a", 1),), (), (Entry("a", 1), Entry("b", -2)), (Entry("a", 1), Entry("a", -1))]
)
def test_money_comes_from_somewhere(engine, entries):
    """What does not sum to zero over different accounts is a fault of ours, and is refused whole."""
    with pytest.raises(NotBalanced, match="expected 0"):
        Money(engine).post(Transfer("t", NOON, "METER", entries))
    assert Money(engine).balances() == {}


def test_nobody_gives_what_he_has_not(engine):
    """Below the floor the transfer is refused, and nothing of it is left: it may be tried again after a deposit."""
    money = Money(engine)
    money.post(deposit("5Renter", 5 * USD, "359-1", NOON))
    charge = metered(ACTIVE, 0, NOON + timedelta(seconds=6), 0)

    with pytest.raises(ShortOfFunds, match=r"renter:5Renter has 5\.000000 USD, 6\.000000 USD are due"):
        money.post(charge, floor_micro_usd=0)
    money.post(deposit("5Renter", USD, "360-1", NOON))
    assert money.post(charge, floor_micro_usd=0)
    assert money.balance(renter("5Renter")) == 0


def test_a_lease_has_a_bill(engine):
    """Its transfers in order, and what its meterings took so far."""
    money = Money(engine)
    for seconds in (4, 9):
        charged = money.charged("l-1", renter("5Renter"))
        money.post(metered(ACTIVE, charged, NOON + timedelta(seconds=seconds), 100_000))

    assert [t.entries[0].micro_usd for t in money.of_lease("l-1")] == [3_600_000, 4_500_000]
    assert money.charged("l-1", renter("5Renter")) == 9 * USD
    assert sum(money.balances().values()) == 0


def test_racing_charges_spend_a_balance_once(engine):
    """Twenty charges of a dollar each race for ten dollars: ten go through, ten are told how much is there."""
    money = Money(engine)
    money.post(deposit("5Renter", 10 * USD, "359-1", NOON))

    def charge(number):
        entries = (Entry("renter:5Renter", -USD), Entry("miner:5Miner", USD))
        try:
            return money.post(Transfer(f"t-{number}", NOON, "METER", entries), floor_micro_usd=0)
        except ShortOfFunds:
            return None

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(charge, range(20)))

    assert (told.count(True), told.count(None)) == (10, 10)
    assert money.balance("renter:5Renter") == 0


def test_the_books_are_even_after_any_kill(engine, tmp_path):
    """Writers killed anywhere, again and again: the sum over all accounts is zero, and every transfer is whole."""
    url = f"sqlite:///{tmp_path}/subnet.db"
    for round_ in range(4):
        pid = os.fork()
        if pid == 0:
            own = Money(open_database(url))
            for number in range(10_000):
                own.post(deposit("5Renter", number + 1, f"{round_}-{number}", NOON))
            os._exit(0)
        money = Money(engine)
        seen = len(money.balances()) and money.balance("outside")
        while money.balance("outside") == seen:
            pass
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

        assert sum(money.balances().values()) == 0
    assert money.post(deposit("5Renter", 1, "0-0", NOON)) is False
