"""What a machine would earn that does not exist yet, by the last archived epoch and the code that pays.

await Estimates.of(wanted, address) -> rows, each a hypothetical machine with its estimate

One at a time, in a thread of their own: whoever waits holds no thread that others are answered by.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import sqlalchemy as sa

from deployments.marketplace.buckets import Buckets, Counted
from deployments.marketplace.problems import Refused
from storage.records import EpochOutcome, EpochState
from storage.state import State
from tasks.estimating import NEWCOMER, Estimate, Hypothetical, estimate
from tasks.inspection.models import Model
from tasks.policy import Policy, policy_of

WAIT_S = 8.0
WAITING, WAITING_EACH = 16, 2
"""Requests that wait for an estimate: of all hotkeys, and of each."""
RETRY_S = 2
KEPT = 64
DAY_S = 86_400.0
ESTABLISHED_DAYS = 30
EPOCHS = 12
"""So many of the newest are looked through for one that is archived."""


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
    """Keeps the epoch that it stands beside, and its last answers."""

    def __init__(self, engine: sa.Engine, policy: Policy, rate: Buckets, wait_s: float = WAIT_S) -> None:
        self._state, self._usual, self._rate, self._wait_s = State(engine), policy, rate, wait_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="estimates")
        self._waiting = Counted(WAITING_EACH, WAITING)
        self._world: EpochOutcome | None = None
        self._known: OrderedDict[Wanted, tuple[Row, ...]] = OrderedDict()

    async def of(self, wanted: Wanted, address: str) -> tuple[int | None, tuple[Row, ...]]:
        """The epoch (None: alone on a subnet, no epoch is archived) and the rows; Refused when too many are asked for."""
        for name in (f"hotkey {wanted.hotkey}", f"address {address}"):
            self._spend(name)
        if not self._waiting.enter(wanted.hotkey):
            raise _crowded()
        try:
            made = asyncio.wrap_future(self._thread.submit(self._made, wanted))
            return await asyncio.wait_for(made, self._wait_s)
        except TimeoutError:
            raise _crowded() from None
        finally:
            self._waiting.leave(wanted.hotkey)

    def close(self) -> None:
        """Make no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _spend(self, name: str) -> None:
        grant = self._rate.take(name)
        if not grant.is_granted:
            raise Refused(
                429,
                "TOO_MANY_ESTIMATES",
                "too many estimates are asked for by this hotkey or from this address",
                "wait a moment, then load it again",
                headers=grant.headers,
            )

    def _made(self, wanted: Wanted) -> tuple[int | None, tuple[Row, ...]]:
        epoch = self._newest()
        if (self._world.epoch if self._world else None) != epoch:
            self._world = self._load(epoch)
            self._known.clear()
        rows = self._known.pop(wanted, None) or self._rows(wanted)
        self._known[wanted] = rows
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return epoch, rows

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


def _crowded() -> Refused:
    return Refused(
        503,
        "CROWDED",
        "many ask for estimates at this moment",
        "wait a moment, then load it again",
        headers={"Retry-After": str(RETRY_S)},
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
