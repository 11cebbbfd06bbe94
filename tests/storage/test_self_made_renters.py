"""Accounts that renters made by themselves: counted by day, and forgotten when nothing is ever done with them."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from storage.belongings import SshKeys, Templates
from storage.convert import row_of
from storage.database import writing
from storage.deposits import ChainDeposit, Deposits
from storage.money import Money
from storage.page_sessions import PageSessions
from storage.rental import Volume
from storage.rentals import Rentals
from storage.renter import PageSession, Passkey
from storage.renters import Renters
from storage.requests import RequestsSeen
from storage.tables import passkeys, volumes
from storage.webhooks import Webhooks
from tasks.collateral.confirming import remark_of
from tasks.renting.deposits import invite, memo_of
from tasks.renting.money import granted
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, rental
from tests.tasks.renting.renters import LATER, api_key, renter, ssh_key, template, webhook

WEEKS = timedelta(days=14)


@pytest.fixture
def kept(tmp_path):
    """Renters of a migrated database that has alice, whom an operator added."""
    engine = fresh(tmp_path)
    renters = Renters(engine)
    renters.add(renter())
    yield renters
    engine.dispose()


WEEKS = timedelta(days=14)


def self_made(kept, name, at=NOON):
    """One with a key."""
    key = api_key(f"{len(kept.all()):016x}", name)
    assert kept.enrol(renter(name, created_at=at, is_self_made=True), key)
    return key


def test_a_renter_and_its_first_key_come_together(kept):
    """Or neither does: a name that is taken keeps its keys."""
    key = self_made(kept, "r-1")

    assert kept.key(key.key_id) == (key, renter("r-1", is_self_made=True))
    assert not kept.enrol(renter("alice", is_self_made=True), api_key("f" * 16))
    assert kept.key("f" * 16) is None


def test_accounts_of_a_day_are_counted(kept):
    """Those that renters made by themselves."""
    self_made(kept, "r-1")
    self_made(kept, "r-2", LATER)

    assert [kept.made_since(at) for at in (NOON, LATER, LATER + timedelta(seconds=1))] == [2, 1, 0]


def test_an_account_that_nothing_was_ever_done_with_is_forgotten(tmp_path):
    """With all that hangs on it; never one that an operator made, nor one that had money, a lease, a volume or a deposit."""
    engine = fresh(tmp_path)
    kept = Renters(engine)
    kept.add(renter())
    for name in ("paid", "leased", "kept-data", "deposits", "used", "passkey", "empty", "young"):
        self_made(kept, name, NOON + WEEKS if name == "young" else NOON)
    fill(engine)
    kept.touch_key(kept.keys("used")[0], NOON + WEEKS)

    assert kept.forget_unused(NOON, 10) == 0
    assert kept.forget_unused(NOON + timedelta(seconds=1), 10) == 1
    left = {one.renter_id for one in kept.all()}
    assert left == {"alice", "paid", "leased", "kept-data", "deposits", "used", "passkey", "young"}
    with engine.connect() as connection:
        for table in ("api_keys", "ssh_keys", "templates", "webhooks", "requests_seen", "deposit_memos"):
            rows = connection.execute(sa.text(f"SELECT count(*) FROM {table} WHERE renter_id = 'empty'"))
            assert rows.scalar_one() == 0, table
        assert connection.execute(sa.text("SELECT count(*) FROM page_sessions")).scalar_one() == 0
    engine.dispose()


def test_so_many_are_forgotten_at_a_time(kept):
    """The oldest first: nobody waits for it."""
    for number in range(3):
        self_made(kept, f"r-{number}", NOON + timedelta(seconds=number))

    assert kept.forget_unused(LATER, 2) == 2
    assert [one.renter_id for one in kept.all()] == ["alice", "r-2"]


def fill(engine):
    """What keeps each of them, and what hangs on the empty one."""
    deposits = Deposits(engine)
    for name in ("deposits", "empty"):
        invite(deposits, name)
    arrival = ChainDeposit("7-1", 7, NOON, "5Sender", 10, (remark_of(memo_of("deposits")),))
    deposits.advance("local/5Us", None, 7, [arrival], ())
    Money(engine).post(granted("paid", 1, "start", NOON, "to begin with"))
    Rentals(engine).request(rental("l-1", renter="leased"))
    SshKeys(engine).add(ssh_key(renter_id="empty"))
    Templates(engine).add(template(renter_id="empty"))
    Webhooks(engine).add(webhook(renter_id="empty"))
    RequestsSeen(engine).first("empty", "k", "d", NOON)
    key = Renters(engine).keys("empty")[0]
    session = PageSession("d", NOON, LATER, key_id=key.key_id)
    PageSessions(engine).begin(session)
    with writing(engine) as connection:
        volume = Volume("kept-data", "data", "", NOON)
        connection.execute(sa.insert(volumes).values(row_of(volume)))
        passkey = Passkey("p", "passkey", "phone", b"c", b"k", 0, NOON, NOON + WEEKS)
        connection.execute(sa.insert(passkeys).values(row_of(passkey)))
