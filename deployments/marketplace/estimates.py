"""What a machine would earn that does not exist yet, by the last archived epoch and the code that pays; one at a time.

Estimates.of(hotkey, model, cards, ...) -> rows, each a hypothetical machine with its estimate
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

import sqlalchemy as sa

from storage.records import EpochOutcome, EpochState
from storage.state import State
from tasks.errors import UserError
from tasks.estimating import NEWCOMER, Estimate, Hypothetical, estimate
from tasks.inspection.models import Model
from tasks.policy import Policy, policy_of

WAIT_S = 5.0
MOST_WAITING = 4
"""Each holds a thread of the server while it waits."""
KEPT = 64
CROWDED = "others ask for estimates at this moment"
DAY_S = 86_400.0
ESTABLISHED_DAYS = 30
EPOCHS = 12
"""So many of the newest are looked through for one that is archived."""


class Crowded(UserError):
    """Others ask for estimates at this moment: ask again soon."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A machine as somebody thinks of it."""

    model: Model
    card_count: int
    price_usd_per_hour: float | None
    is_isolating: bool
    has_collateral: bool
    hotkey: str


@dataclass(frozen=True, slots=True)
class Row:
    """One case of it."""

    is_leased: bool
    passing_days: int
    estimate: Estimate


class Estimates:
    """Keeps the epoch that it stands beside, and its last answers; safe for threads."""

    def __init__(self, engine: sa.Engine, policy: Policy, wait_s: float = WAIT_S) -> None:
        self._state, self._usual, self._wait_s = State(engine), policy, wait_s
        self._lock, self._places = threading.Lock(), threading.BoundedSemaphore(MOST_WAITING)
        self._world: EpochOutcome | None = None
        self._known: OrderedDict[Wanted, tuple[Row, ...]] = OrderedDict()

    def of(self, wanted: Wanted) -> tuple[int | None, tuple[Row, ...]]:
        """The epoch (None: alone on a subnet, no epoch is archived) and the rows; Crowded when many ask, or others' take long."""
        if not self._places.acquire(blocking=False):
            raise Crowded(CROWDED)
        try:
            if not self._lock.acquire(timeout=self._wait_s):
                raise Crowded(CROWDED)
            return self._made(wanted)
        finally:
            self._places.release()

    def _made(self, wanted: Wanted) -> tuple[int | None, tuple[Row, ...]]:
        """With the lock, which it gives back."""
        try:
            epoch = self._newest()
            if (self._world.epoch if self._world else None) != epoch:
                self._world = self._load(epoch)
                self._known.clear()
            rows = self._known.pop(wanted, None) or self._rows(wanted)
            self._known[wanted] = rows
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            return epoch, rows
        finally:
            self._lock.release()

    def _newest(self) -> int | None:
        """The last finished epoch whose transcripts lie elsewhere: with them it would be too much to read."""
        for one in self._state.latest_epochs(EPOCHS):
            epoch = one.header.epoch
            if one.state is EpochState.FINISHED and self._state.is_archived(epoch):
                return epoch
        return None

    def _load(self, epoch: int | None) -> EpochOutcome | None:
        found = None if epoch is None else self._state.load_outcome(epoch)
        return None if found is None else replace(found, replies=(), phases=(), events=(), incidents=())

    def _rows(self, wanted: Wanted) -> tuple[Row, ...]:
        grounds = self._world.grounds if self._world else None
        policy = policy_of(grounds.policy_values) if grounds else self._usual
        return tuple(
            Row(is_leased, days, estimate(self._world, _machine(wanted, is_leased, days), policy))
            for is_leased in (False, True)
            for days in (0, ESTABLISHED_DAYS)
        )


def _machine(wanted: Wanted, is_leased: bool, days: int) -> Hypothetical:  # noqa: FBT001  both are of the row
    return Hypothetical(
        wanted.model,
        wanted.card_count,
        is_leased=is_leased,
        passing_s=days * DAY_S,
        price_usd_per_hour=wanted.price_usd_per_hour,
        is_isolating=wanted.is_isolating,
        has_collateral=wanted.has_collateral,
        miner_hotkey=wanted.hotkey or NEWCOMER,
    )
