"""Whether Prefect is well: asked in the background while somebody looks, each time within seconds; nobody waits for it.

Orchestrations(ask).look() -> the last answer, at once; None before the first
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectException

from deployments.prefect_client import quick_client

DEADLINE_S = 4.0
FRESH_S = 5.0
MOST_POOLS, MOST_QUEUES, MOST_WORKERS = 12, 12, 20
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


def ask_prefect() -> Orchestration:
    """The server that PREFECT_API_URL names, within the deadline; from a thread that has no event loop."""
    return asyncio.run(_asked())


async def _asked() -> Orchestration:
    begun, latency_s = monotonic(), DEADLINE_S
    try:
        async with asyncio.timeout(DEADLINE_S), quick_client() as client:
            fault = await client.api_healthcheck()
            latency_s = monotonic() - begun
            if fault is not None:
                return Orchestration(
                    datetime.now(UTC), f"{type(fault).__name__}: it does not answer", latency_s
                )
            pools = await client.read_work_pools(limit=MOST_POOLS)
            found = await asyncio.gather(*(_pool(client, one.name, is_paused=one.is_paused) for one in pools))
            return Orchestration(datetime.now(UTC), "", latency_s, tuple(found))
    except (httpx.HTTPError, PrefectException, OSError, TimeoutError) as error:
        return Orchestration(datetime.now(UTC), f"{type(error).__name__}: it does not answer", latency_s)


async def _pool(client: PrefectClient, name: str, *, is_paused: bool) -> Pool:
    workers = await client.read_workers_for_work_pool(name, limit=MOST_WORKERS)
    queues = await client.read_work_queues(work_pool_name=name, limit=MOST_QUEUES)
    counted = [
        Counted(
            one.name, one.is_paused, tuple([await _count(client, name, one.name, state) for state in STATES])
        )
        for one in queues
    ]
    return Pool(
        name,
        is_paused,
        tuple(counted),
        tuple(
            WorkerSeen(one.name, one.last_heartbeat_time, str(one.status).upper().endswith("ONLINE"))
            for one in workers
        ),
    )


async def _count(client: PrefectClient, pool: str, queue: str, state: str) -> int:
    wanted: dict[str, Any] = {
        "flow_runs": {"state": {"name": {"any_": [state]}}},
        "work_pools": {"name": {"any_": [pool]}},
        "work_pool_queues": {"name": {"any_": [queue]}},
    }
    answer = await client.request("POST", "/flow_runs/count", json=wanted)
    return int(answer.json())


def late_of(pools: Iterable[Pool]) -> int:
    """Runs that should have begun."""
    at = STATES.index("Late")
    return sum(queue.runs[at] for pool in pools for queue in pool.queues)
