"""The ledger on a real database: asked again nothing moves twice, and who comes second reads again."""

import subprocess
import sys
import threading
from datetime import UTC, datetime
from functools import partial

import pytest

from storage.collateral import Ledger
from storage.records import MoveKind
from storage.state import State
from tasks.collateral.account import (
    Decision,
    account_of,
    deny,
    deny_request,
    deposit,
    deposit_request,
    reclaim,
    slash,
    slash_request,
)
from tasks.collateral.keeping import carry_out
from tasks.edges.collateral import OwnLedger
from tasks.errors import CollateralRefused
from tasks.policy import CollateralPolicy
from tests.databases import fresh
from tests.storage.outcomes import header

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
POLICY = CollateralPolicy()
KEY, OTHER = "5Alice/m-0", "5Alice/m-1"
EVIDENCE = "cd" * 32


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def why(extrinsic=""):
    """The operator's."""
    return Decision(NOON, "operator", "", extrinsic)


def put(engine, amount_rao=6_000_000_000, extrinsic="100-1", key=KEY):
    """A deposit, as the command makes it."""
    wish = partial(deposit, amount_rao=amount_rao, policy=POLICY, why=why(extrinsic))
    return carry_out(Ledger(engine), key, wish, lambda _: deposit_request(extrinsic))


def balances(engine, key=KEY):
    """Free and held."""
    account = account_of(key, Ledger(engine).moves(key))
    return account.free_rao, account.held_rao


def test_a_transfer_is_credited_once(engine):
    """The same extrinsic again changes nothing, and gives the line that stands."""
    first, again = put(engine), put(engine)

    assert (first[1], again[1]) == (True, False)
    assert first[0] == again[0]
    assert balances(engine) == (6_000_000_000, 0)


def test_a_transfer_is_credited_to_one_machine(engine):
    """Not to another one too, and not with another amount."""
    put(engine)

    with pytest.raises(
        CollateralRefused, match="deposit:100-1 stands in the ledger with something else: 6 TAO, 5Al"
    ):
        put(engine, key=OTHER)
    with pytest.raises(CollateralRefused, match="wished was 7 TAO"):
        put(engine, 7_000_000_000)
    assert balances(engine, OTHER) == (0, 0)


def test_a_machine_is_slashed_once_for_one_evidence(engine):
    """Again with the same file: the line that stands, even when less is left than was taken."""
    put(engine)

    def take():
        wish = partial(slash, amount_rao=4_000_000_000, evidence_blake2s=EVIDENCE, why=why())
        return carry_out(Ledger(engine), KEY, wish, lambda _: slash_request(KEY, EVIDENCE), "the log")

    assert (take()[1], take()[1]) == (True, False)
    assert balances(engine) == (2_000_000_000, 0)


def test_a_denial_that_is_repeated_is_done_already(engine):
    """After a crash the command is run again: nothing moves, and it is no mistake."""
    put(engine)
    carry_out(Ledger(engine), KEY, partial(reclaim, amount_rao=None, policy=POLICY, why=why()))

    def no():
        return carry_out(Ledger(engine), KEY, partial(deny, why=why()), deny_request)

    assert (no()[1], no()[1]) == (True, False)
    assert balances(engine) == (6_000_000_000, 0)


def test_every_move_is_an_event_of_the_next_epoch(engine):
    """Kind, machine, amount, and of a slash the evidence itself, in the archive's events."""
    put(engine)
    wish = partial(slash, amount_rao=1, evidence_blake2s=EVIDENCE, why=why())
    carry_out(Ledger(engine), KEY, wish, evidence="GPU-1 was listed by two machines")
    state = State(engine)
    state.open_epoch(header(7))
    state.finish_epoch(7)

    events = state.load_outcome(7).events
    assert [(e.kind, e.subject, e.message) for e in events] == [
        ("COLLATERAL_DEPOSITED", KEY, "6 TAO, by operator"),
        ("COLLATERAL_SLASHED", KEY, "0.000000001 TAO, by operator"),
    ]
    assert '"evidence": "GPU-1 was listed by two machines"' in events[1].statement
    assert EVIDENCE in events[1].statement


def test_scoring_is_told_what_is_free(engine):
    """Not what is asked back: that covers nothing any more."""
    put(engine)
    put(engine, 3_000_000_000, "100-2", OTHER)
    carry_out(Ledger(engine), KEY, partial(reclaim, amount_rao=1, policy=POLICY, why=why()))

    assert OwnLedger(engine).free_rao() == {KEY: 5_999_999_999, OTHER: 3_000_000_000}


def test_two_who_take_at_once_take_no_more_than_there_is(engine):
    """Eight slash 1 TAO each of 6, all at the same time: six succeed, two are told that nothing is left."""
    put(engine)
    refused, start = [], threading.Barrier(8)

    def take(number):
        wish = partial(slash, amount_rao=1_000_000_000, evidence_blake2s=f"{number:064x}", why=why())
        start.wait()
        try:
            carry_out(Ledger(engine), KEY, wish)
        except CollateralRefused as error:
            refused.append(str(error))

    threads = [threading.Thread(target=take, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    moves = Ledger(engine).moves(KEY)
    assert balances(engine) == (0, 0)
    assert len(refused) == 2
    assert [m.number for m in moves] == list(range(1, 8))
    assert sum(m.kind is MoveKind.SLASH for m in moves) == 6


DYING = """
import os, sys
from datetime import UTC, datetime
import sqlalchemy as sa
from functools import partial
from storage.collateral import Ledger
from storage.database import open_database
from tasks.collateral.account import Decision, deposit
from tasks.collateral.keeping import carry_out
from tasks.policy import CollateralPolicy

engine = open_database(sys.argv[1])
if sys.argv[2] == "before":
    sa.event.listen(engine, "commit", lambda _: os._exit(9))
why = Decision(datetime(2026, 8, 1, 12, tzinfo=UTC), "operator", "", "100-1")
wish = partial(deposit, amount_rao=6_000_000_000, policy=CollateralPolicy(), why=why)
ledger = Ledger(engine)
if sys.argv[2] == "before":
    from tasks.collateral.account import Account
    from tasks.collateral.keeping import event_of
    move = wish(Account("5Alice/m-0"))
    ledger.add(move, event_of(move, ""))
carry_out(ledger, "5Alice/m-0", wish)
os._exit(9)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_dies_doubles_nothing(engine, tmp_path, when):
    """Killed before the commit or right after it, and run again: one deposit, one event."""
    url = f"sqlite:///{tmp_path}/subnet.db"
    died = subprocess.run([sys.executable, "-c", DYING, url, when], check=False)

    assert died.returncode == 9
    assert balances(engine) == ((0, 0) if when == "before" else (6_000_000_000, 0))
    put(engine)
    assert balances(engine) == (6_000_000_000, 0)
    state = State(engine)
    state.open_epoch(header(7))
    state.finish_epoch(7)
    assert len(state.load_outcome(7).events) == 1
