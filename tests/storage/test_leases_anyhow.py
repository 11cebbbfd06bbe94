"""Leases under anything: requests, retries, stale moves, stops and ends in any order, and a crash at any statement.

A machine of hypothesis plays renters, workers that have seen leases at some moment, and a power cut, against the real
database; after each step the books are looked at.
"""

import json
import shutil
import tempfile
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from storage.database import migrate, open_database
from storage.errors import CardsTaken, DatabaseAway, StorageError
from storage.lease_events import LeaseEvents
from storage.operations import Operations
from storage.rental import Mode, Operation, OperationKind, OperationState, Party, RentalState, Wish
from storage.rentals import Rentals
from storage.works import Works
from tasks.errors import MoveRefused
from tasks.renting.asking import ask_end, ask_for_lease, ask_operation
from tasks.renting.matching import candidates
from tasks.renting.moves import (
    HOLDS,
    HOLDS_NOTHING,
    ended,
    ending,
    failed,
    handed_over,
    let_go,
    moved,
    rehold,
    reserved,
    started,
    stopped,
    unhold,
)
from tests.tasks.renting.leases import NOON, offer, rental

MACHINES = [offer(f"5Miner/{n}", cards=cards) for n, cards in enumerate((1, 2, 2, 4))]
ALL_CARDS = {card for machine in MACHINES for card in machine.card_uuids}
KEYS = st.integers(0, 7)
WORKERS = st.integers(0, 3)
MOVES = {
    "provision": lambda lease, at: moved(lease, RentalState.PROVISIONING, at),
    "hand over": handed_over,
    "let go": lambda lease, at: let_go(lease, at, "no"),
    "fail": lambda lease, at: failed(lease, at, Party.MACHINE, "no"),
    "stop": stopped,
    "rehold": rehold,
    "unhold": unhold,
    "start": started,
    "end": ending,
    "over": ended,
}


@cache
def empty():
    """A migrated database without a row."""
    path = Path(tempfile.mkdtemp()) / "empty.db"
    engine = open_database(f"sqlite:///{path}")
    migrate(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


class PowerCut(Exception):
    """The process dies here."""


def check_cards(every, held):
    """Held cards are exactly those of the leases that hold, each of one lease, none that does not exist."""
    holding = [(card, one.lease_id) for one in every if one.is_holding for card in one.card_uuids]
    assert sorted(holding) == sorted(held.items())
    assert {card for card, _ in holding} <= ALL_CARDS
    for one in every:
        assert one.is_holding or one.state not in HOLDS
        assert not one.is_holding or one.state not in HOLDS_NOTHING


def check_events(every, events):
    """1, 2, 3; the last state that was told of a lease is where it stands."""
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    states = {e.lease_id: e.kind for e in events if e.kind.lower() in list(RentalState)}
    assert states == {one.lease_id: one.state.value.upper() for one in every}


class Market(RuleBasedStateMachine):
    """Renters, workers and a crash; what is stored is all that counts."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.url = f"sqlite:///{Path(self.folder.name)}/subnet.db"
        self.engine, self.seconds, self.names = None, 0, count()
        self.left = self.cut = None
        shutil.copy(empty(), Path(self.folder.name) / "subnet.db")
        self.open()
        self.seen, self.versions, self.by_key, self.told = {}, {}, {}, 0

    def open(self):
        """A process that begins."""
        if self.engine is not None:
            self.engine.dispose()
        self.engine = open_database(self.url)
        sa.event.listen(self.engine, "before_cursor_execute", self.maybe_die)
        sa.event.listen(self.engine, "commit", self.maybe_die)
        self.leases = Rentals(self.engine)

    def maybe_die(self, *_):
        """Count statements and commits down to a power cut."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise PowerCut

    def now(self):
        """A second later each time."""
        self.seconds += 1
        return NOON + timedelta(seconds=self.seconds)

    def do(self, action):
        """Do it, or die in it: then a new process begins, whose workers know nothing."""
        self.left, self.cut = self.cut, None
        try:
            return action()
        except (CardsTaken, MoveRefused):
            return None
        except (PowerCut, DatabaseAway, StorageError):
            self.open()
            self.seen.clear()
            return None
        finally:
            self.left = None

    @rule(key=KEYS, cards=st.integers(0, 2), mode=st.sampled_from(Mode))
    def request(self, key, cards, mode):
        """A renter asks, or asks again with the same key for something else."""
        asked = rental(f"l-{next(self.names)}", key=f"k-{key}", wish=Wish(card_count=cards, mode=mode))
        got = self.do(lambda: ask_for_lease(self.leases, replace(asked, requested_at=self.now())))
        if got is not None:
            assert self.by_key.setdefault(key, got[0].lease_id) == got[0].lease_id

    @rule(worker=WORKERS, key=KEYS)
    def look(self, worker, key):
        """A worker sees a lease as it stands now."""
        lease = self.leases.get(self.by_key.get(key, ""))
        if lease is not None:
            self.seen[worker] = lease

    @rule(worker=WORKERS, which=st.integers(0, 3))
    def reserve(self, worker, which):
        """It reserves a machine by what it saw, which may be long ago; the cards that it believes free may be taken."""
        lease = self.seen.get(worker)
        if lease is None:
            return
        fit = candidates(lease, MACHINES, self.leases.held() if which % 2 else {})
        if fit:
            chosen = fit[which % len(fit)]
            self.move(worker, lambda one, at: reserved(one, chosen.offer, chosen.card_uuids, at))

    @rule(worker=WORKERS, name=st.sampled_from(sorted(MOVES)))
    def go(self, worker, name):
        """It moves the lease as it saw it."""
        if worker in self.seen:
            self.move(worker, MOVES[name])

    def move(self, worker, how):
        """By compare-and-set; what it has moved it has seen."""
        before = self.seen[worker]

        def action():
            after = how(before, self.now())
            if self.leases.move(before, after):
                self.seen[worker] = after

        self.do(action)

    @rule(key=KEYS)
    def ask_end(self, key):
        """The renter wants it ended, whatever is being done with it."""
        if key in self.by_key:
            self.do(lambda: ask_end(self.leases, self.by_key[key], self.now(), Party.RENTER, "cancelled"))

    @rule(key=KEYS, again=st.integers(0, 2))
    def operate(self, key, again):
        """The renter asks for a stop, again and again with the same keys."""
        lease = self.leases.get(self.by_key.get(key, ""))
        if lease is not None:
            name = f"o-{next(self.names)}"
            stop = Operation(
                name, lease.lease_id, f"k-{again}", OperationKind.STOP, OperationState.ASKED, self.now()
            )
            self.do(lambda: ask_operation(Operations(self.engine), lease, stop))

    @precondition(lambda self: self.cut is None)
    @rule(statements=st.integers(0, 12))
    def power_cut(self, statements):
        """In the middle of the next change everything dies."""
        self.cut = statements

    @invariant()
    def the_books_are_right(self):
        """Looked at in one moment, after each step, whoever died in it."""
        every, events = self.every(), LeaseEvents(self.engine).after(0, limit=10_000)
        check_cards(every, self.leases.held())
        check_events(every, events)
        assert len({one.idempotency_key for one in every}) == len(every)
        for one in every:
            assert self.versions.get(one.lease_id, 0) <= one.version
            self.versions[one.lease_id] = one.version
        assert len(events) >= self.told
        self.told = len(events)
        stops = {json.loads(e.facts)["operation_id"] for e in events if e.kind == "STOP_ASKED"}
        wanted = {("rent", one.lease_id) for one in every} | {("operate", name) for name in stops}
        ends = {("teardown", one.lease_id) for one in every if one.end_asked_at}
        works = [(w.kind.value, w.subject) for w in Works(self.engine).unstarted(10_000)]
        assert sorted(works) == sorted(wanted | ends)

    def every(self):
        """All leases, as they are stored."""
        return self.leases.of_renter("5Renter", newest=1_000)

    def teardown(self):
        """Close it."""
        self.engine.dispose()
        self.folder.cleanup()


Market.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


class TestLeasesAnyhow(Market.TestCase):
    """Never the same card twice, one key one lease, versions only grow, events without gaps, holds as states say."""
