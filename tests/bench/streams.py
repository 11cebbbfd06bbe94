"""Streams of events: what 500 open ones cost the marketplace's process, and how late an event is at its readers."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from deployments.marketplace.market import Limits
from storage.lease_events import LeaseEvents
from storage.rental import Happening, Rental
from storage.renter import Scope
from storage.renters import Renters
from tasks.renting.api_keys import new_key
from tests.bench.market_server import started
from tests.bench.rows import MS, Group, Row
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, rental
from tests.tasks.renting.renters import renter

STREAMS, EVENTS_PER_S, WATCHED_S = 500, 5, 20.0
EACH = Limits().streams_per_key
MARK = "told at "
PREFIX = "event_streams_500"
NAMES = tuple(f"{PREFIX}_{what}" for what in ("memory", "idle", "busy", "p50", "p95"))


@dataclass
class Seen:
    """What a server did under the streams."""

    kib_per_stream: float = 0.0
    idle_s: float = 0.0
    """CPU in a second in which nothing happens."""
    busy_s: float = 0.0
    late_s: list[float] = field(default_factory=list)
    """Of each event at each of its readers, from before it is written."""


def _streams() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        names = [f"renter-{n}" for n in range(-(-STREAMS // EACH))]
        tokens = _tokens(Path(folder), names)
        with started(folder, "--machines", "0") as server:
            ours = asyncio.run(_watch(server.url, server.pid, tokens, _Writer(Path(folder), names)))
        with started(folder, "--told", str(EVENTS_PER_S * EACH)) as server:
            floor = asyncio.run(_watch(server.url, server.pid, tokens, None))
    many = f"{STREAMS} feeds of {len(names)} renters in one process"
    told = f"{many}; floor: as many at an app that sends as many events and looks for none"
    busy = f"{EVENTS_PER_S} events a second, each for {EACH} of them"
    yield Row(
        NAMES[0], ours.kib_per_stream, "KiB", floor.kib_per_stream, STREAMS, f"resident, of each of {told}"
    )
    yield Row(NAMES[1], ours.idle_s * MS, "ms/s", None, 1, f"CPU in a second without events: {many}")
    yield Row(NAMES[2], ours.busy_s * MS, "ms/s", floor.busy_s * MS, 1, f"CPU in a second, {busy}: {told}")
    late = (
        f"from before an event is written until a reader has it, {busy}; one look in 200 ms for all of them"
    )
    yield Row(NAMES[3], statistics.median(ours.late_s) * MS, "ms wall", None, len(ours.late_s), late)
    yield Row(
        NAMES[4], statistics.quantiles(ours.late_s, n=20)[-1] * MS, "ms wall", None, len(ours.late_s), late
    )


def _tokens(folder: Path, names: list[str]) -> list[str]:
    """A key of each renter."""
    engine, tokens = fresh(folder, "market.db"), []
    for name in names:
        Renters(engine).add(renter(name))
        token, key = new_key(name, "bench", (Scope.READ,), NOON)
        Renters(engine).add_key(key, NOON)
        tokens.append(token)
    engine.dispose()
    return tokens


class _Writer:
    """Notes events as the processes of the flows do: from outside, into the database."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._events = LeaseEvents(fresh(folder, "market.db"))
        self._leases: list[Rental] = [rental(f"lease-{name}", name) for name in names]
        self._turn = 0

    def note(self) -> None:
        """The next event, of the next renter."""
        lease = self._leases[self._turn % len(self._leases)]
        self._turn += 1
        happened = Happening("NOTE", f"{MARK}{time.perf_counter()}")
        self._events.note(lease, datetime.now(UTC), happened)


async def _watch(url: str, pid: int, tokens: list[str], writer: _Writer | None) -> Seen:
    """Open the streams, be silent, let events come; without a writer the server makes them itself."""
    seen = Seen()
    readers = [await _opened(url, tokens[0])]
    before_kib = _resident_kib(pid)
    readers += [await _opened(url, tokens[n // EACH]) for n in range(1, STREAMS)]
    tasks = [asyncio.create_task(_read(reader, seen.late_s)) for reader, _ in readers]
    await asyncio.sleep(2)
    seen.kib_per_stream = (_resident_kib(pid) - before_kib) / (STREAMS - 1)
    if writer is None:
        seen.busy_s = await _cpu_per_s(pid)
    else:
        seen.idle_s = await _cpu_per_s(pid)
        told = asyncio.create_task(_tell(writer))
        seen.busy_s = await _cpu_per_s(pid)
        await told
    for (_, connection), task in zip(readers, tasks, strict=True):
        task.cancel()
        connection.close()
    return seen


async def _tell(writer: _Writer) -> None:
    for _ in range(round(WATCHED_S * EVENTS_PER_S)):
        due = asyncio.create_task(asyncio.sleep(1 / EVENTS_PER_S))
        await asyncio.to_thread(writer.note)
        await due


async def _opened(url: str, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A feed, once it has said that it is there."""
    place = urlsplit(url)
    reader, connection = await asyncio.open_connection(place.hostname, place.port)
    lines = ("GET /v1/events?follow=true HTTP/1.1", "Host: market", f"Authorization: Bearer {token}", "", "")
    connection.write("\r\n".join(lines).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    await reader.readuntil(b": alive\n\n")
    return reader, connection


async def _read(reader: asyncio.StreamReader, late_s: list[float]) -> None:
    while line := await reader.readline():
        now = time.perf_counter()
        _, mark, rest = line.decode().partition(MARK)
        if mark:
            late_s.append(now - float(rest.partition('"')[0]))


async def _cpu_per_s(pid: int) -> float:
    before_s, began = _cpu_s(pid), time.perf_counter()
    await asyncio.sleep(WATCHED_S)
    return (_cpu_s(pid) - before_s) / (time.perf_counter() - began)


def _cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_kib(pid: int) -> float:
    return (
        int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        * os.sysconf("SC_PAGE_SIZE")
        / 1024
    )


GROUPS = (Group(NAMES, _streams),)
