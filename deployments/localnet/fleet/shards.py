"""A farm of several processes: the first one starts the others, speaks for all of them, and ends them."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TypeVar

from tasks.errors import SubnetError

T = TypeVar("T")
PATIENCE_S = 20.0
REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of the farm a process serves."""

    number: int
    count: int

    def part_of(self, every: Sequence[T]) -> Sequence[T]:
        """This one's."""
        return every[self.number :: self.count]


class _Stopped(Exception):
    """A signal has come."""


def serve_shards(arguments: Sequence[str], count: int) -> None:
    """Run so many farms with these arguments until a signal comes; SubnetError when one of them ends by itself."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Stopped

    with ExitStack() as stack:
        shards: list[subprocess.Popen[str]] = []
        stack.callback(_end, shards)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        with suppress(_Stopped):
            shards += [_start(arguments, part, count) for part in range(count)]
            for shard in shards:
                if _line(shard) != "ready":
                    raise SubnetError("a part of the farm did not get ready")
            _say("ready")
            _answer(shards)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for shard in shards:
            shard.terminate()
        _say(_sum([_line(shard) for shard in shards]))


def _start(arguments: Sequence[str], number: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deployments.localnet.farm", *arguments]
    return subprocess.Popen(  # noqa: S603  our own program with our own arguments
        [*command, "--processes", str(count), "--shard", str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


def _answer(shards: Sequence[subprocess.Popen[str]]) -> None:
    """Answer each `cpu` on stdin with the sum; raises SubnetError when a part is gone, _Stopped from the signal."""
    with selectors.DefaultSelector() as heard:
        with suppress(OSError, ValueError):  # stdin is a file or closed: nobody will ask
            heard.register(0, selectors.EVENT_READ)
        while all(shard.poll() is None for shard in shards):
            for _ in heard.select(1.0):
                asked = os.read(0, 4096)
                if not asked:
                    heard.unregister(0)
                for _ in range(asked.count(b"cpu")):
                    _say(_sum([_ask(shard, "cpu") for shard in shards]))
    raise SubnetError("a part of the farm has ended")


def _ask(shard: subprocess.Popen[str], word: str) -> str:
    assert shard.stdin is not None
    shard.stdin.write(word + "\n")
    shard.stdin.flush()
    return _line(shard)


def _line(shard: subprocess.Popen[str]) -> str:
    assert shard.stdout is not None
    return shard.stdout.readline().strip()


def _sum(lines: Sequence[str]) -> str:
    total: dict[str, float] = {}
    for line in lines:
        with suppress(ValueError):  # one that was ended before it was ready has nothing to tell
            for name, used_s in json.loads(line).items():
                total[name] = total.get(name, 0.0) + float(used_s)
    return json.dumps(total)


def _end(shards: Sequence[subprocess.Popen[str]]) -> None:
    for shard in shards:
        shard.terminate()
    for shard in shards:
        try:
            shard.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            shard.kill()
            shard.wait()


def _say(line: str) -> None:
    with suppress(BrokenPipeError):  # nobody listens any more
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
