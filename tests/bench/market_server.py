"""A marketplace with a thousand offers on loopback, or a server that does the least for as many bytes: what clients of the bench ask.

python -m tests.bench.market_server FOLDER [--machines N]      prints its URL and a key, and lives while its stdin does
python -m tests.bench.market_server FOLDER --leased            with a lease of eight cards that was measured for an hour
python -m tests.bench.market_server FOLDER --bare BYTES        sends so many bytes, whatever is asked
python -m tests.bench.market_server FOLDER --told EVENTS       streams; so many events are sent a second, to one after the other
python -m tests.bench.market_server FOLDER --files FILE        sends what a file of JSON has for each path: type, encoding, base64
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from storage.health import Metric
from storage.rental import CardUse, Happening
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import world
from tests.tasks.renting.leases import USD, offer

MACHINES, SAMPLES, EVENTS = 1_000, 720, 200
MODELS = (("L4", 24.0), ("GeForce RTX 4090", 24.0), ("A100-SXM4-80GB", 80.0), ("H100 80GB HBM3", 80.0))
App = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Server:
    """One in a process of its own."""

    url: str
    token: str
    pid: int


@contextmanager
def started(folder: str, *arguments: str) -> Iterator[Server]:
    """The server, for as long as the block lasts."""
    command = [sys.executable, "-m", "tests.bench.market_server", folder, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url, _, token = process.stdout.readline().strip().partition(" ")
        try:
            yield Server(url, token, process.pid)
        finally:
            process.stdin.close()


def main(arguments: list[str]) -> int:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--machines", type=int, default=MACHINES)
    parser.add_argument("--leased", action="store_true")
    parser.add_argument("--bare", type=int)
    parser.add_argument("--told", type=int)
    parser.add_argument("--files", type=Path)
    asked = parser.parse_args(arguments)
    bare = (
        (asked.bare is not None and sending(asked.bare))
        or (asked.told is not None and telling(asked.told))
        or (asked.files is not None and filed(asked.files))
    )
    if bare:
        with served(bare) as url:
            _live(url, "none")
        return 0
    with world(asked.folder, machines=0) as made:
        made.machines += [_machine(n) for n in range(asked.machines)]
        token = made.key("alice")
        if asked.leased:
            _lease(made)
        with served(made.app) as url:
            _live(url, token)
    return 0


def _machine(n: int):
    """One of a thousand that differ in what is filtered and sorted by."""
    model, vram_gib = MODELS[n % 4]
    return replace(
        offer(f"5Miner/m-{n:04}", cards=1 + n % 8),
        model=model,
        vram_gib=vram_gib,
        micro_usd_per_card_hour=USD // 10 + 1_000 * n,
        performance=0.8 + (7 * n % 1_000) / 5_000,
        reliability=0.9 + (n % 100) / 1_000,
        region=("eu", "us", "")[n % 3],
    )


def _lease(made) -> None:
    """One of eight cards, with a sample for every five seconds of an hour and as many events as its page shows."""
    lease = made.active(made.client(), wish={"executor_key": "5Miner/m-0007"})
    chance = random.Random(1)
    for _ in range(SAMPLES):
        made.clock.passes(5)
        cards = tuple(CardUse(uuid, chance.uniform(60, 100), 70_000) for uuid in lease.card_uuids)
        made.stores.health.add(Metric(lease.lease_id, made.clock.at, cards, chance.uniform(50, 800), 1 << 34))
    for _ in range(EVENTS):
        made.stores.events.note(lease, made.clock.at, Happening("WARNED", "the balance lasts for an hour"))


def sending(size: int) -> App:
    """An app that sends so many bytes, whatever is asked."""
    body = b"x" * size

    async def app(scope, receive, send) -> None:
        if scope["type"] == "http":
            await _send(send, "application/json", "", body)

    return app


def filed(path: Path) -> App:
    """An app that sends files out of its memory."""
    told = json.loads(path.read_text(encoding="utf-8"))
    files = {name: (kind, packed, base64.b64decode(body)) for name, (kind, packed, body) in told.items()}

    async def app(scope, receive, send) -> None:
        if scope["type"] == "http":
            await _send(send, *files[scope["path"]])

    return app


def telling(events_per_s: int) -> App:
    """An app that keeps streams, and sends so many events a second in all, to one stream after the other."""
    streams: list[Callable[..., Awaitable[None]]] = []
    event = b"id: 1\nevent: lease\ndata: " + b"x" * 250 + b"\n\n"
    at_work: list[asyncio.Task[None]] = []

    async def tell() -> None:
        turn = 0
        while streams:
            send = streams[turn % len(streams)]
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await asyncio.sleep(1 / events_per_s)
            turn += 1

    async def app(scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": alive\n\n", "more_body": True})
        streams.append(send)
        if not at_work:
            at_work.append(asyncio.create_task(tell()))
        while (await receive())["type"] != "http.disconnect":
            pass
        streams.remove(send)

    return app


async def _send(send, kind: str, packed: str, body: bytes) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
    if packed:
        headers.append((b"content-encoding", packed.encode()))
    if kind != "application/json" and not kind.startswith("text/html"):
        headers.append((b"cache-control", b"public, max-age=31536000, immutable"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _live(url: str, token: str) -> None:
    sys.stdout.write(f"{url} {token}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
