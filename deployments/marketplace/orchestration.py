"""Whether Prefect is well: asked in the background while somebody looks, each time within seconds; nobody waits for it.

Orchestrations(ask).look() -> the last answer, at once; None before the first
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

FRESH_S = 5.0
STATES = ("Running", "Late", "Scheduled", "Pending")
"""Names of states that are counted."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A queue of a work pool with how many runs of it stand where."""

    name: str
    is_paused: bool
    runs: tuple[int, ...]
    """In the order of STATES."""


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker as the server knows it."""

    name: str
    beat_at: datetime | None
    is_online: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """A work pool."""

    name: str
    is_paused: bool
    queues: tuple[Counted, ...]
    workers: tuple[WorkerSeen, ...]


@dataclass(frozen=True, slots=True)
class Orchestration:
    """The server at one moment."""

    at: datetime
    fault: str
    """Why it could not be asked; empty when it answered."""
    latency_s: float
    """Of its health check, or until it was given up."""
    pools: tuple[Pool, ...] = ()


class Orchestrations:
    """Keeps the last answer, and asks again when it is older than some seconds; safe for threads."""

    def __init__(
        self, ask: Callable[[], Orchestration] | None, clock: Callable[[], float] = monotonic
    ) -> None:
        self._ask, self._clock = ask, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="orchestration")
        self._lock = threading.Lock()
        self._is_asking = False
        self._asked_at = float("-inf")
        self._last: Orchestration | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is any server to ask."""
        return self._ask is not None

    def look(self) -> Orchestration | None:
        """The last answer; None: none has come yet."""
        with self._lock:
            is_old = self._clock() - self._asked_at >= FRESH_S
            if self._ask is not None and is_old and not self._is_asking:
                self._is_asking, self._asked_at = True, self._clock()
                self._thread.submit(self._refresh, self._ask)
            return self._last

    def close(self) -> None:
        """Ask no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _refresh(self, ask: Callable[[], Orchestration]) -> None:
        try:
            told = ask()
        except Exception as error:  # noqa: BLE001  whatever it is, the page says it, and the next look asks again
            told = Orchestration(datetime.now(UTC), type(error).__name__, 0.0)
        with self._lock:
            self._last, self._is_asking = told, False
