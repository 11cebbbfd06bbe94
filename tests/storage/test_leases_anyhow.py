"""Leases under anything: requests, retries, stale moves, stops and ends in any order, and a crash at any statement.

A seed plays renters, workers that have seen leases at some moment, and power cuts, against the real database; after
each step the books are looked at.
"""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import count
from random import Random

import pytest
import sqlalchemy as sa

from storage.database import open_database
from storage.errors import CardsTaken
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
from tests.databases import fresh_url
from tests.tasks.renting.leases import NOON, USD, offer, rental

MACHINES = [offer(f"5Miner/{n}", cards=cards) for n, cards in enumerate((1, 2, 2, 4))]
ALL_CARDS = {card for machine in MACHINES for card in machine.card_uuids}
KEYS, WORKERS, STEPS = 6, 3, 400
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


class PowerCut(Exception):
    """The process dies here."""


def is_lawful(how, lease):
    """Whether there is such a way from where the lease stands."""
    try:
        return how(lease, NOON) is not None
    except MoveRefused:
        return False


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


class Market:
    """Renters, workers and power cuts, drawn by a seed; what is stored is all that counts."""

    def __init__(self, folder, seed):
        self.draw = Random(seed)
        self.url = fresh_url(folder)
        self.engine, self.seconds, self.steps, self.names = None, 0, 0, count()
        self.left = None
        self.open()
        self.seen, self.versions, self.by_key, self.told, self.cuts = {}, {}, {}, 0, 0

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

    def key(self):
        """One of a few that are used around now."""
        return f"k-{self.steps // 20 + self.draw.randrange(KEYS)}"

    def now(self):
        """A second later each time."""
        self.seconds += 1
        return NOON + timedelta(seconds=self.seconds)

    def do(self, action):
        """Do it, or die in it, one time in six: then a new process begins, whose workers know nothing."""
        self.left = self.draw.randrange(7) if self.draw.random() < 1 / 6 else None
        try:
            return action()
        except (CardsTaken, MoveRefused):
            return None
        except PowerCut:
            self.cuts += 1
            self.open()
            self.seen.clear()
            return None
        finally:
            self.left = None

    def step(self):
        """Anybody does anything."""
        self.steps += 1
        actions = (self.request, self.ask_end, self.operate, self.look, self.reserve, self.go)
        (action,) = self.draw.choices(actions, (3, 0.5, 1, 6, 4, 16))
        worker = self.draw.randrange(WORKERS)
        every = self.leases.open()
        action(worker, self.draw.choice(every) if every else None)
        self.look_at_the_books()

    def request(self, *_):
        """A renter asks, or asks again with the same key for something else."""
        mode = self.draw.choice(list(Mode))
        bid = 100 * USD if mode is Mode.SPOT else 0
        hours = 24 if mode is Mode.RESERVED else 0
        wish = Wish(card_count=self.draw.randrange(3), mode=mode, bid_micro_usd_per_hour=bid, hours=hours)
        asked = rental(f"l-{next(self.names)}", key=self.key(), wish=wish)
        got = self.do(lambda: ask_for_lease(self.leases, replace(asked, requested_at=self.now())))
        if got is not None:
            assert self.by_key.setdefault(asked.idempotency_key, got[0].lease_id) == got[0].lease_id

    def look(self, worker, lease):
        """A worker sees a lease as it stands now."""
        if lease is not None:
            self.seen[worker] = lease

    def reserve(self, worker, _):
        """It reserves a machine by what it saw, which may be long ago; cards that it believes free may be taken."""
        lease = self.seen.get(worker)
        if lease is None:
            return
        fit = candidates(lease, MACHINES, self.leases.held() if self.draw.random() < 0.5 else {})
        if fit:
            chosen = self.draw.choice(fit)
            self.move(worker, lambda one, at: reserved(one, chosen.offer, chosen.card_uuids, at))

    def go(self, worker, _):
        """It moves the lease as it saw it, along any way that is lawful from there, seldom to its end."""
        lease = self.seen.get(worker)
        ways = [name for name in sorted(MOVES) if lease and is_lawful(MOVES[name], lease)]
        if ways:
            way = self.draw.choice(ways)
            if way not in ("fail", "over", "let go", "end") or self.draw.random() < 0.1:
                self.move(worker, MOVES[way])

    def move(self, worker, how):
        """By compare-and-set; what it has moved it has seen."""
        before = self.seen[worker]
        stands = self.leases.get(before.lease_id)

        def action():
            after = how(before, self.now())
            if self.leases.move(before, after):
                assert before == stands
                self.seen[worker] = after

        self.do(action)

    def ask_end(self, _, lease):
        """The renter wants it ended, whatever is being done with it."""
        if lease is not None:
            self.do(lambda: ask_end(self.leases, lease.lease_id, self.now(), Party.RENTER, "cancelled"))

    def operate(self, _, lease):
        """The renter asks for a stop, again and again with the same keys."""
        if lease is not None:
            name, key, kind = f"o-{next(self.names)}", f"k-{self.draw.randrange(3)}", OperationKind.STOP
            stop = Operation(name, lease.lease_id, key, kind, OperationState.ASKED, self.now())
            self.do(lambda: ask_operation(Operations(self.engine), lease, stop))

    def look_at_the_books(self):
        """In one moment, after each step, whoever died in it."""
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


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 4))])
def test_the_books_are_right_whatever_happens(tmp_path, seed):
    """Never the same card twice, one key one lease, versions only grow, events without gaps, held is what states say."""
    market = Market(tmp_path, seed)
    for _ in range(STEPS):
        market.step()
    states = {e.kind for e in LeaseEvents(market.engine).after(0, limit=10_000)}
    market.engine.dispose()

    assert market.cuts > 5
    assert states >= {"RESERVED", "PROVISIONING", "ACTIVE", "STOPPED", "ENDING", "ENDED", "FAILED"}
