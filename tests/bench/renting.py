"""Renting: what the marketplace answers while many look at once."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.market_server import started
from tests.bench.rows import MS, Group, Row
from tests.deployments.marketplace.racing import race

REQUESTS, MACHINES = 200, 50
CLIENTS, ROUNDS, THINK_S = 200, 10, 1.0
QUERIES = (
    "sort=value&limit=20",
    "model=H100+80GB+HBM3&count=4&sort=price&limit=20",
    "min_vram_gib=24&max_usd_per_hour=0.6&limit=20",
    "region=eu&min_reliability=0.95&sort=reliability&limit=20",
)


def _offers() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, started(folder) as server:
        size = len(asyncio.run(_ask_once(server.url, server.token, QUERIES[0])))
        ours = asyncio.run(_crowd(server.url, server.token))
        with started(folder, "--bare", str(size)) as bare:
            floor = asyncio.run(_crowd(bare.url, bare.token))
    note = (
        f"GET /v1/offers over 1,000 offers, {CLIENTS} connections that each ask once a second; median "
        f"{statistics.median(ours) * MS:.1f} ms; floor: the same crowd at a server that sends as many bytes"
    )
    yield Row("api_offers_p95", _p95(ours) * MS, "ms", _p95(floor) * MS, len(ours), note)


def _race() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        raced = race(Path(folder), REQUESTS, MACHINES)
    active = [lease for lease in raced.leases if lease.state.value == "active"]
    wrong = abs(len(active) - MACHINES) + len(active) - len({lease.executor_key for lease in active})
    note = (
        f"leases of {REQUESTS} concurrent requests for {MACHINES} machines, through the API and the flow; wrong ones: "
        f"{wrong}; the API's own answer: median {statistics.median(raced.answer_s) * MS:.0f} ms, "
        f"p95 {_p95(list(raced.answer_s)) * MS:.0f} ms"
    )
    yield Row("lease_race", len(active), "count", None, REQUESTS, note)


async def _crowd(url: str, token: str) -> list[float]:
    """Seconds of every answer; the first round warms up."""
    seconds: list[float] = []

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection(*_place(url))
        await asyncio.sleep(THINK_S * number / CLIENTS)
        for turn in range(ROUNDS + 1):
            began = time.perf_counter()
            await _exchange(reader, writer, token, QUERIES[(number + turn) % len(QUERIES)])
            took = time.perf_counter() - began
            if turn:
                seconds.append(took)
            await asyncio.sleep(max(0.0, THINK_S - took))
        writer.close()

    await asyncio.gather(*(one(number) for number in range(CLIENTS)))
    return seconds


async def _ask_once(url: str, token: str, query: str) -> bytes:
    reader, writer = await asyncio.open_connection(*_place(url))
    body = await _exchange(reader, writer, token, query)
    writer.close()
    return body


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, query: str
) -> bytes:
    """One request on a kept connection; the client is as small as it can be, since it shares the machine."""
    lines = (f"GET /v1/offers?{query} HTTP/1.1", "Host: market", f"Authorization: Bearer {token}", "", "")
    writer.write("\r\n".join(lines).encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert head.startswith("http/1.1 200"), head
    (length,) = (line.partition(":")[2] for line in head.splitlines() if line.startswith("content-length"))
    return await reader.readexactly(int(length))


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


GROUPS = (Group(("api_offers_p95",), _offers), Group(("lease_race",), _race))
