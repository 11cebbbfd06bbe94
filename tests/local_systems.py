"""The whole local system, as `make up` starts it, in a folder of its own, for those who come to it from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from deployments.localnet.warming import warm_cache

SUBNET = Path(sys.executable).with_name("subnet")
REPOSITORY = Path(__file__).parents[1]
UP_S, LOOK_S, POLL_S = 300.0, 0.5, 0.02


@dataclass(frozen=True)
class LocalSystem:
    """One that is up, and has machines on offer."""

    place: Path
    """Its `.local` folder."""

    @property
    def market(self) -> str:
        """The URL of its marketplace."""
        return str(json.loads((self.place / "run" / "market.json").read_text(encoding="utf-8"))["url"])

    def typed(self, *words: str) -> str:
        """What `subnet` prints, once it has succeeded."""
        done = subprocess.run(
            [SUBNET, *words],
            cwd=REPOSITORY,
            env=environment_of(self.place),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"subnet {' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def has_offers(self) -> bool:
        """Whether an epoch has proved machines."""
        try:
            answer = httpx.get(f"{self.market}/v1/health", timeout=5, trust_env=False)
            return bool(answer.json()["offers"] > 0)
        except (OSError, httpx.HTTPError, KeyError, ValueError):
            return False


def warm(folder: Path, kernels: Path) -> None:
    """Have a system of this folder find what other tests have compiled: that takes longer than an epoch, and is no part of it."""
    warm_cache(kernels)
    (folder / ".local" / "localnet").mkdir(parents=True)
    (folder / ".local" / "localnet" / "cache").symlink_to(kernels)
    if compiled := os.environ.get("NUMBA_CACHE_DIR"):
        Path(compiled).mkdir(parents=True, exist_ok=True)
        (folder / ".local" / "numba").symlink_to(Path(compiled).absolute())


@contextlib.contextmanager
def local_system(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[LocalSystem]:
    """`subnet up` with these settings, once an epoch has proved machines."""
    system = LocalSystem(folder / ".local")
    folder.mkdir(exist_ok=True)
    log_file = folder / "up.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [SUBNET, "up"],
            env={**environment_of(system.place), **own_ports(), **(settings or {})},
            cwd=REPOSITORY,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or system.has_offers(), UP_S, LOOK_S)
        if process.poll() is not None:
            told = log_file.read_text(encoding="utf-8")[-2_000:]
            raise RuntimeError(f"`subnet up` ended:\n{told}")
        yield system
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def own_ports() -> dict[str, str]:
    """Of its own, as two systems that start at once would both take the usual ones."""
    with socket.socket() as prefect, socket.socket() as market:
        for one in (prefect, market):
            one.bind(("127.0.0.1", 0))
        return {
            "SUBNET_PREFECT_PORT": str(prefect.getsockname()[1]),
            "SUBNET_MARKET_PORT": str(market.getsockname()[1]),
        }


def environment_of(place: Path) -> dict[str, str]:
    """Without settings of whoever runs the tests."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_", "NUMBA_"))}
    return {**ours, "SUBNET_FOLDER": str(place), "HOME": str(place.parent)}


def wait_until(holds: Callable[[], bool], seconds: float, every_s: float = POLL_S) -> None:
    """Until it holds; TimeoutError when it does not within so many seconds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(every_s)
