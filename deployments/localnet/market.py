"""The renters' side of the local system: the marketplace's HTTP API, and the worker that runs its flows."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from deployments.localnet.layout import Layout
from deployments.processes import Child, asked_port, free_port, start
from deployments.sites import REPOSITORY, Site
from deployments.supervising import Supervised

POOL = "renting"
DEFAULT_PORT = 8051
READY_DEADLINE_S = 300.0
"""A machine that does much else beside it takes twenty times as long."""


@dataclass(frozen=True)
class Renting:
    """The two processes, begun again when they die, and the API's address."""

    url: str
    market: Supervised
    worker: Supervised


@contextmanager
def serve_renting(site: Site, say: Callable[[str], None]) -> Iterator[Renting]:
    """Both processes until the end of the block; `subnet rent` finds the market by a file in the folder."""
    port = free_port(asked_port("SUBNET_MARKET_PORT", DEFAULT_PORT))
    url, told = f"http://127.0.0.1:{port}", Layout(site.folder).run / "market.json"
    with ExitStack() as stack:
        worker = _supervised(site, "renting worker", ["deployments.flow_worker", "--pool", POOL])
        stack.callback(worker.stop, grace_s=25.0)
        market = _supervised(site, "marketplace", ["deployments.marketplace.serve", "--port", str(port)])
        stack.callback(market.stop)
        market.child.wait_until(lambda: _is_healthy(url), READY_DEADLINE_S)
        stack.callback(told.unlink, missing_ok=True)
        _write(told, {"url": url})
        say(
            f"marketplace is up: {url}, in a browser http://localhost:{port}; docs/renting.md shows how to rent"
        )
        yield Renting(url, market, worker)


def _supervised(site: Site, name: str, module: list[str]) -> Supervised:
    return Supervised(_start(site, name, module), partial(_start, site, name, module, is_again=True))


def _start(site: Site, name: str, module: list[str], *, is_again: bool = False) -> Child:
    return start(
        name,
        [sys.executable, "-m", *module],
        log=site.folder / "logs" / f"{name.replace(' ', '-')}.log",
        environment={**site.environment, "SUBNET_REPOSITORY": str(REPOSITORY)},
        folder=REPOSITORY,
        is_again=is_again,
    )


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/health", timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _write(path: Path, told: dict[str, str]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(told), encoding="utf-8")
    temporary.replace(path)
