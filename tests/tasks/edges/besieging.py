"""The hostile servers of `hostile.py`, started as a process of their own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.records import Executor
from tests.tasks.edges import hostile

REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True)
class Servers:
    """Where each behaviour listens, and the host key that all announce."""

    ports: dict[str, int]
    host_key: bytes

    def executor(self, name: str) -> Executor:
        """What a miner would announce of the one that behaves so."""
        port, key = self.ports[name], self.host_key
        return Executor("one", "5Miner", 1, 1, "127.0.0.1", port, "subnet", "/usr/bin/python3", key, 1.0)


@contextlib.contextmanager
def hostile_servers() -> Iterator[Servers]:
    """All of them, in one process, until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", hostile.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        try:
            yield Servers(told["ports"], bytes.fromhex(told["key"]))
        finally:
            process.stdin.close()
