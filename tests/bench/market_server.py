"""A marketplace with a thousand offers on loopback, or the least server that sends as many bytes: what clients of the bench ask.

python -m tests.bench.market_server FOLDER [--bare BYTES]      prints its URL and a key, and lives while its stdin does
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import world
from tests.tasks.renting.leases import USD, offer

MACHINES = 1_000


def main(arguments: list[str]) -> int:
    """Serve until stdin ends."""
    if arguments[1:2] == ["--bare"]:
        with served(bare(int(arguments[2]))) as url:
            _live(url, "none")
        return 0
    with world(Path(arguments[0]), machines=0) as made:
        made.machines += [_machine(n) for n in range(MACHINES)]
        token = made.key("alice")
        with served(made.app) as url:
            _live(url, token)
    return 0


def _machine(n: int):
    """One of a thousand that differ in what is filtered and sorted by."""
    return replace(
        offer(f"5Miner/m-{n:04}", cards=1 + n % 8),
        model=("L4", "RTX 4090", "A100", "H100")[n % 4],
        vram_gib=(24.0, 24.0, 80.0, 80.0)[n % 4],
        micro_usd_per_card_hour=USD // 10 + 1_000 * n,
        performance=0.8 + (n % 40) / 100,
        reliability=0.9 + (n % 100) / 1_000,
        region=("eu", "us", "")[n % 3],
    )


def bare(size: int) -> Callable[..., Awaitable[None]]:
    """An app that sends so many bytes, whatever is asked."""
    body = b"x" * size

    async def app(scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def _live(url: str, token: str) -> None:
    sys.stdout.write(f"{url} {token}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
