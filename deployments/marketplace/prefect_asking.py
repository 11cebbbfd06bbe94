"""Asking Prefect's server how it is: its health check, work pools, queues, workers, and how many runs stand where."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectException

from deployments.marketplace.orchestration import STATES, Counted, Orchestration, Pool, WorkerSeen
from deployments.prefect_client import quick_client

DEADLINE_S = 4.0
MOST_POOLS, MOST_QUEUES, MOST_WORKERS = 12, 12, 20


def ask_prefect() -> Orchestration:
    """The server that PREFECT_API_URL names, within the deadline; from a thread that has no event loop."""
    return asyncio.run(_asked())


async def _asked() -> Orchestration:
    begun, latency_s = monotonic(), DEADLINE_S
    try:
        async with asyncio.timeout(DEADLINE_S), quick_client() as client:
            begun = monotonic()
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
