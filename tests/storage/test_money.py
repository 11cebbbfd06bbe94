"""The ledger: what is moved is moved once, comes from somewhere, and sums to zero under every crash and race."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.database import writing
from storage.errors import NotBalanced, ShortOfFunds, StorageError
from storage.money import Money
from storage.rental import Entry, Transfer
from storage.statements import Books
from storage.tables import entries, transfers
from tasks.renting.money import deposit, metered, renter
from tests.databases import fresh
from tests.storage.posting import event
from tests.tasks.renting.leases import NOON, USD, running

ACTIVE = running(3_600 * USD)


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def test_money_moves_once(engine):
    """A deposit that is told of three times is credited once; the books are even."""
    money = Money(engine)
    told = [money.post(deposit("5Renter", 10 * USD, "359-1", NOON)) for _ in range(3)]

    assert told == [True, False, False]
    assert money.balances() == {"renter:5Renter": 10 * USD, "outside": -10 * USD}


@pytest.mark.parametrize(
    "entries",
    [
        (Entry("a", 1),),
        (),
        (Entry("a", 1), Entry("b", -2)),
        (Entry("a", 1), Entry("a", -1)),
        (Entry("a", 1, 5), Entry("b", -1, -4)),
        (Entry("a", 1, -1), Entry("b", 0, 0)),
    ],
)
def test_money_comes_from_somewhere(engine, entries):
    """What does not sum to zero in each unit over different accounts is a fault of ours, and is refused whole."""
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
    """Its transfers in order, what its meterings moved so far, and the sums by account."""
    money = Money(engine)
    for seconds in (4, 9):
        charged = money.metered("l-1")
        money.post(metered(ACTIVE, charged, NOON + timedelta(seconds=seconds), 100_000))

    assert [t.entries[0].micro_usd for t in money.of_lease("l-1")] == [3_600_000, 4_500_000]
    assert money.metered("l-1") == money.metered_by_lease(["l-1", "l-2"])["l-1"] == 9 * USD
    assert {line.account: (line.micro_usd, line.transfers) for line in money.bill("l-1")} == {
        "renter:5Renter": (-9 * USD, 2),
        "miner:5Miner": (8_100_000, 2),
        "platform": (900_000, 2),
    }
    assert money.books().is_even


def test_several_are_posted_together(engine):
    """Each once: what has moved before is left, the rest is new; one that is not even stops them all."""
    money = Money(engine)
    even = [deposit("5Renter", USD, name, NOON) for name in ("1-1", "1-2", "1-3")]
    assert money.post(even[0])

    assert money.post_all(even) == 2
    assert money.post_all(even) == money.post_all([]) == 0
    with pytest.raises(NotBalanced):
        money.post_all([deposit("5Renter", USD, "1-4", NOON), Transfer("t", NOON, "METER", (Entry("a", 1),))])
    assert money.balance("renter:5Renter") == 3 * USD
    assert money.books().is_even


def test_a_standing_is_one_moment(engine):
    """Balances and meterings together; an account or a lease without any has nothing."""
    money = Money(engine)
    money.post(deposit("5Renter", 10 * USD, "1-1", NOON))
    money.post(metered(ACTIVE, 0, NOON + timedelta(seconds=4), 0))

    assert money.standing(["renter:5Renter", "renter:none"], ["l-1", "l-2"]) == (
        {"renter:5Renter": 6 * USD, "renter:none": 0},
        {"l-1": 4 * USD},
    )
    assert money.left_in("renter:") == {"renter:5Renter": 6 * USD}
    assert money.left_in("escrow:") == {}


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


def test_rao_are_kept_beside_dollars(engine):
    """Each unit has a sum of its own: ten rao that came in for a dollar are both."""
    money = Money(engine)
    sides = (Entry("outside", -USD, -10), Entry("treasury", 0, 10), Entry("renter:5Renter", USD))
    money.post(Transfer("d", NOON, "DEPOSIT", sides))

    assert (money.rao("treasury"), money.balance("treasury")) == (10, 0)
    assert (money.rao("outside"), money.balance("outside")) == (-10, -USD)
    assert money.books() == Books(transfers=1, entries=3, micro_usd=0, rao=0, uneven=())


@pytest.mark.parametrize("table", ["transfers", "entries"])
@pytest.mark.parametrize("change", ["UPDATE {} SET transfer_id = 'x'", "DELETE FROM {}"])
def test_a_line_is_never_changed(engine, table, change):
    """Whoever tries it in SQL is refused by the database, and the line stands."""
    money = Money(engine)
    money.post(deposit("5Renter", USD, "359-1", NOON))

    with pytest.raises(StorageError, match="the ledger is append-only"), writing(engine) as connection:
        connection.execute(sa.text(change.format(table)))
    assert money.balance("renter:5Renter") == USD


def test_books_find_what_does_not_add_up(engine):
    """Lines that somebody put in by hand, a transfer without sides: they are named, and the books are not even."""
    money = Money(engine)
    money.post(deposit("5Renter", USD, "359-1", NOON))
    with writing(engine) as connection:
        for name, sides in (("bad", [("a", 1), ("b", 1)]), ("empty", [])):
            row = {"transfer_id": name, "at": NOON, "kind": "X", "lease_id": "", "message": ""}
            connection.execute(sa.insert(transfers).values(row))
            for account, micro_usd in sides:
                side = {"transfer_id": name, "account": account, "micro_usd": micro_usd}
                connection.execute(sa.insert(entries).values(side))

    assert money.books() == Books(transfers=3, entries=4, micro_usd=2, rao=0, uneven=("bad", "empty"))
    assert not money.books().is_even


def test_an_invoice_is_a_stretch_of_the_ledger(engine):
    """Opening and lines make the closing balance; what is before and after the stretch is in neither of its lines."""
    money = Money(engine)
    month = datetime(2026, 9, 1, tzinfo=UTC)
    money.post(deposit("5Renter", 10 * USD, "1-1", NOON))
    for name, at in (
        ("a", NOON),
        ("b", month),
        ("c", month + timedelta(days=1)),
        ("d", month.replace(month=10)),
    ):
        sides = (Entry("renter:5Renter", -USD), Entry("miner:5Miner", USD))
        money.post(Transfer(name, at, "METER", sides, lease_id="l-1"))

    invoice = money.invoice("renter:5Renter", month, month.replace(month=10))

    assert (invoice.opening_micro_usd, invoice.closing_micro_usd) == (9 * USD, 7 * USD)
    [line] = invoice.lines
    assert (line.lease_id, line.kind, line.micro_usd, line.transfers) == ("l-1", "METER", -2 * USD, 2)
    assert (line.first_at, line.last_at) == (month, month + timedelta(days=1))


def test_the_books_are_even_after_any_kill(engine):
    """Four threads of a process that is killed anywhere, again and again: what was told is kept once, nothing is half kept,
    and posting all of it again adds just what was lost on the way.
    """
    money, first, kept = Money(engine), 0, set()
    for _ in range(2):
        told = _told_before_the_kill(engine.url, first)
        kept |= {number for number, _ in told}
        first = max(kept) - 8  # some are asked for a second time: those were kept

        books = money.books()
        assert books.is_even
        assert all(money.has(f"t-{number}") for number in kept)
        assert books.entries == 3 * books.transfers

    for number in range(max(kept) + 1):
        assert money.post(event(number)) is False or number not in kept
    whole = max(kept) + 1
    beyond = money.books().transfers - whole
    assert 0 <= beyond <= 4, "each thread may have kept one more that it did not come to tell of"
    assert money.balance("platform") == (whole + beyond) * 100_000


def _told_before_the_kill(url, first):
    """What the process said before it was killed, some way into its work: numbers, and whether they were new."""
    script = Path(__file__).with_name("posting.py")
    command = [sys.executable, str(script), str(url), str(first), "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(40)]
        process.kill()
        lines += process.stdout.readlines()
    words = [line.split() for line in lines if line.endswith("\n")]
    return [(int(number), is_new == "True") for number, is_new in words]
