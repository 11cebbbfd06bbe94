"""Measuring a lease every few seconds, but only while somebody looks at it: one sampler for each lease, however many look.

    samplers.look(lease)        from any thread: somebody looks; gives why nothing is measured finely, or nothing
        begins a task           one kept session to the machine -> a reading every 5 s -> the lease's series of samples
        ends                    some 30 s after the last look, or when the lease does not run any more

Nobody who looks ever waits for a machine: pages and feeds read the series. What a machine makes of it costs that lease alone:
each sampler waits for at most one answer at a time, in a thread of its own, and asks less often after failures. Where there
is no room for one more the samples of the watch have to do.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Protocol, TypeVar

from storage.errors import StorageError
from storage.health import LeaseHealth
from storage.rental import Rental, RentalState
from storage.rentals import Rentals
from tasks.errors import EngineAway, EngineRefused, HostileAnswer, SubnetError, TransportError
from tasks.renting.counters import Counters
from tasks.renting.meter import Reading, sample_of

_log = logging.getLogger("subnet.samples")
MARGIN_S = 1.0
"""Beside the deadlines that are passed on, for whoever does not keep them."""
SPARE = 4
"""Threads that close sessions while others still wait for their machines."""
FULL = "too many leases are looked at now: it is measured about once a minute"
AWAY = "the machine gives no answer"
SILENT = "the machine does not say what it uses"
BROKEN = "the machine's answers can't be understood"
REFUSED = "the machine's container engine does not do its work"
OURS = "it can't be measured now"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How finely, and how much of it at once."""

    every_s: float = 5.0
    first_s: float = 1.0
    """Between the first reading and the second: what a processor did is known of two."""
    idle_s: float = 30.0
    """After the last look it goes on for so long."""
    open_s: float = 20.0
    answer_s: float = 9.0
    """For one reading: who takes longer is away."""
    rest: float = 5.0
    """After a reading it is left alone for so many times what that took, so that a slow machine is not kept busy by us."""
    session_s: float = 300.0
    """A session has a budget of messages and bytes: after so long another is opened."""
    again_most_s: float = 60.0
    """After failures it is tried less and less often, but as often as this."""
    most: int = 64
    most_of_renter: int = 8
    most_on_machine: int = 4
    """A machine lets only so many sessions of ours in, and leases are worked on by others."""


class Meters(Protocol):
    """A session to the machine of one lease."""

    def measure(self, card_uuids: tuple[str, ...], timeout_s: float) -> Reading:
        """What its container and these cards do now; it blocks."""

    def close(self) -> None:
        """End it; from any thread, twice is harmless."""


class OpensMeters(Protocol):
    """Opens them."""

    async def open(self, rental: Rental, deadline_s: float) -> Meters:
        """A session, within so many seconds."""


@dataclass(slots=True)
class _Sampler:
    """One lease that is looked at."""

    lease_id: str
    renter_id: str
    machine: str
    looked_at: float
    why: str = ""
    before: Counters | None = None
    readings: int = 0
    failures: int = 0
    """In a row."""
    took_s: float = 0.0
    """The last reading."""


@dataclass(slots=True)
class _Open:
    """A session, and the container that it is for."""

    meters: Meters
    container: str
    opened_at: float = field(default_factory=monotonic)


class Samplers:
    """All of them; `look` is safe for threads."""

    def __init__(
        self,
        consoles: OpensMeters,
        rentals: Rentals,
        health: LeaseHealth,
        limits: Sampling,
        now: Callable[[], datetime],
    ) -> None:
        self._consoles, self._rentals, self._health = consoles, rentals, health
        self._limits, self._now = limits, now
        self._lock = threading.Lock()
        self._live: dict[str, _Sampler] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool: ThreadPoolExecutor | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Begin samplers from here on; all have ended at the end."""
        self._pool = ThreadPoolExecutor(self._limits.most + SPARE, thread_name_prefix="sampler")
        self._loop = asyncio.get_running_loop()
        try:
            yield
        finally:
            with self._lock:
                self._loop = None
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._pool.shutdown(wait=False)

    def look(self, lease: Rental) -> str:
        """Somebody looks at it: why it is not measured finely, in words; nothing where it is, or soon will be."""
        if not _can_be_measured(lease):
            return ""
        with self._lock:
            known = self._live.get(lease.lease_id)
            if known is not None:
                known.looked_at = monotonic()
                return known.why
            if self._loop is None:
                return ""
            if not self._has_room(lease):
                return FULL
            made = _Sampler(lease.lease_id, lease.renter_id, lease.executor_key, monotonic())
            self._live[lease.lease_id] = made
            self._loop.call_soon_threadsafe(self._begin, made)
            return ""

    def _has_room(self, lease: Rental) -> bool:
        limits, live = self._limits, self._live.values()
        return (
            len(live) < limits.most
            and sum(one.renter_id == lease.renter_id for one in live) < limits.most_of_renter
            and sum(one.machine == lease.executor_key for one in live) < limits.most_on_machine
        )

    def _begin(self, one: _Sampler) -> None:
        task = asyncio.get_running_loop().create_task(self._run(one), name=f"samples of {one.lease_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, one: _Sampler) -> None:
        """Until nobody has looked for a while, or there is nothing to measure."""
        session: _Open | None = None
        try:
            while (left_s := one.looked_at + self._limits.idle_s - monotonic()) > 0:
                begun = monotonic()
                lease = await self._call(partial(self._rentals.get, one.lease_id))
                if lease is None or not _can_be_measured(lease):
                    return
                try:
                    session = await self._fresh(session, lease)
                    await self._measure(one, session, lease)
                except Exception as error:  # noqa: BLE001  whatever a machine's answer breaks costs this lease alone
                    self._close(session)
                    session = None
                    self._failed(one, error)
                await asyncio.sleep(min(left_s, max(0.0, begun + self._wait_s(one) - monotonic())))
        except StorageError as error:
            _log.warning("%s is not measured any more: %s", one.lease_id, error)
        finally:
            self._close(session)
            with self._lock:
                del self._live[one.lease_id]

    async def _fresh(self, session: _Open | None, lease: Rental) -> _Open:
        """The session that is open, while it is young and of the container that runs now; else another."""
        container = lease.access.container if lease.access else ""
        if session is not None:
            is_young = monotonic() - session.opened_at < self._limits.session_s
            if is_young and session.container == container:
                return session
            self._close(session)
        async with asyncio.timeout(self._limits.open_s + MARGIN_S):
            return _Open(await self._consoles.open(lease, self._limits.open_s), container)

    async def _measure(self, one: _Sampler, session: _Open, lease: Rental) -> None:
        """One reading; the first of all only begins the series, since nobody knows yet what the processor does."""
        answer_s, begun = self._limits.answer_s, monotonic()
        async with asyncio.timeout(answer_s + MARGIN_S):
            reading = await self._call(partial(session.meters.measure, lease.card_uuids, answer_s))
        one.took_s = monotonic() - begun
        sample = sample_of(lease.lease_id, self._now(), one.before, reading)
        one.before, one.failures, one.readings = reading.counters, 0, one.readings + 1
        one.why = SILENT if sample is None else ""
        if sample is not None and one.readings > 1:
            await self._call(partial(self._health.add, sample))

    def _failed(self, one: _Sampler, error: Exception) -> None:
        if not isinstance(error, (SubnetError, StorageError, TimeoutError)):
            _log.exception("%s could not be measured", one.lease_id, exc_info=error)
        is_first = not one.failures
        one.failures += 1
        one.why = _why(error)
        if is_first:
            _log.info("%s could not be measured: %s", one.lease_id, error or "it took too long")

    def _wait_s(self, one: _Sampler) -> float:
        if one.failures:
            return min(self._limits.again_most_s, self._limits.every_s * 2.0 ** min(one.failures, 16))
        wait_s = self._limits.first_s if one.readings == 1 else self._limits.every_s
        return min(self._limits.again_most_s, max(wait_s, (1.0 + self._limits.rest) * one.took_s))

    def _close(self, session: _Open | None) -> None:
        if session is not None and self._pool is not None:
            self._pool.submit(session.meters.close)

    async def _call(self, ask: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, ask)


def _can_be_measured(lease: Rental) -> bool:
    return lease.state is RentalState.ACTIVE and lease.access is not None


def _why(error: Exception) -> str:
    match error:
        case HostileAnswer():
            return BROKEN
        case EngineRefused() | EngineAway():
            return REFUSED
        case TransportError() | TimeoutError():
            return AWAY
        case _:
            return OURS
