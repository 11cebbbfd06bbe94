"""Sums that are kept up: exact at every look, whatever came between two, and made of the new lines alone."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.database import reading
from storage.money import Money
from storage.rental import Entry, Transfer
from storage.running import WHOLE_S, Running, Totals, since
from storage.tables import entries, transfers
from tasks.renting.money import granted
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, USD

ACCOUNTS = ("renter:a", "renter:b", "miner:m", "platform", "outside", "escrow:l-1")


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def running_on(engine):
    """Sums that are looked at more than a minute after the last time, always: PostgreSQL's are made anew then."""
    instants = count(0.0, WHOLE_S + 1.0)
    return Running(engine, lambda: next(instants))


def moved(number, micro_usd, sides=("renter:a", "miner:m"), kind="METER"):
    """A transfer of so much."""
    return Transfer(f"t-{number}", NOON, kind, (Entry(sides[0], -micro_usd), Entry(sides[1], micro_usd)))


def summed_anew(engine):
    """The same sums the long way."""
    held, given = {}, {}
    with reading(engine) as connection:
        joined = sa.select(entries, transfers.c.kind).join(
            transfers, transfers.c.transfer_id == entries.c.transfer_id
        )
        for row in connection.execute(joined):
            account = row.account.partition(":")[0]
            held[account] = held.get(account, 0) + row.micro_usd
            given[row.kind] = given.get(row.kind, 0) + max(0, row.micro_usd)
    return Totals(held, given)


def test_an_empty_ledger_has_no_sums(engine):
    """Nothing is made up."""
    assert Running(engine).look() == Totals()


def test_kinds_of_accounts_and_of_transfers_are_told(engine):
    """Seven dollars were granted and two metered: renters have five."""
    running = running_on(engine)
    Money(engine).post(granted("a", 7 * USD, "g-1", NOON, "to begin with"))
    running.look()
    Money(engine).post(moved(1, 2 * USD))

    assert running.look() == Totals(
        {"renter": 5 * USD, "miner": 2 * USD, "outside": -7 * USD}, {"GRANT": 7 * USD, "METER": 2 * USD}
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.just("look"),
            st.tuples(
                st.lists(st.sampled_from(ACCOUNTS), min_size=2, max_size=2, unique=True),
                st.integers(0, 10**12),
                st.sampled_from(["METER", "CREDIT", "RELEASE"]),
            ),
        ),
        max_size=12,
    )
)
def test_whenever_it_is_looked_at_the_sums_are_exact(tmp_path_factory, steps):
    """Any order of transfers and looks; one that looks at each moment and one that looks at the end say the same."""
    engine = fresh(tmp_path_factory.mktemp("ledger"))
    running = running_on(engine)
    for number, step in enumerate(steps):
        if step == "look":
            assert running.look() == summed_anew(engine)
        else:
            Money(engine).post(moved(number, step[1], tuple(step[0]), step[2]))

    assert running.look() == Running(engine).look() == summed_anew(engine)
    engine.dispose()


def test_lines_that_race_with_looks_are_counted_once(engine):
    """Four threads post while two look: at the end no line is missing and none is in twice."""
    running = running_on(engine)

    def work(number):
        Money(engine).post_all([moved(f"{number}-{n}", 1 + n) for n in range(4)])
        return sum(running.look().held.values())

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(25))) == {0}
    assert running.look() == summed_anew(engine)


def test_only_new_lines_are_read(engine):
    """SQLite goes to the first new line by its number, and scans no table."""
    if engine.dialect.name != "sqlite":
        return  # it numbers no lines in the order of commits, and sums the whole
    Money(engine).post_all([moved(n, 1) for n in range(300)])
    with reading(engine) as connection:
        query = str(since(500).compile(engine, compile_kwargs={"literal_binds": True}))
        plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
        lines = connection.exec_driver_sql(query.replace("sum(", "count(")).all()

    assert any("SEARCH entries USING INTEGER PRIMARY KEY (rowid>?)" in line for line in plan), plan
    assert not any(line.startswith("SCAN") for line in plan), plan
    assert sum(row[2] for row in lines) == 100


def test_a_ledger_that_was_restored_is_summed_anew(tmp_path):
    """Another file in its place, with more lines or with fewer: the sums are those of the file that is there."""
    first, other = fresh(tmp_path, "a.db"), fresh(tmp_path, "b.db")
    Money(first).post_all([moved(n, USD) for n in range(3)])
    Money(other).post_all([moved(f"o-{n}", 5 * USD) for n in range(4)])
    running = running_on(first)
    running.look()

    running._engine = other
    assert running.look() == summed_anew(other)
    running._engine = first
    assert running.look() == summed_anew(first)
    first.dispose()
    other.dispose()


def test_where_lines_have_no_numbers_the_whole_is_summed_once_a_minute(engine):
    """As on PostgreSQL: the sums of a moment ago for 60 s, then new ones."""
    now = 0.0
    running = Running(engine, lambda: now)
    running._has_numbers = False
    Money(engine).post(moved(1, USD))
    before = running.look()
    Money(engine).post(moved(2, USD, kind="CREDIT"))
    now = 59.0

    assert running.look() == before != summed_anew(engine)
    now = 60.0
    assert running.look() == summed_anew(engine)
