"""A farm of several processes: the first one forks the others, speaks for all of them, and ends them.

Forked, so that what they have imported is in memory once: four farms of their own would take a gigabyte for it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import FrameType
from typing import TextIO, TypeVar

from deployments.localnet.world import die_with_parent
from tasks.errors import SubnetError

T = TypeVar("T")
PATIENCE_S = 20.0
GO = "go"


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of the farm a process serves."""

    number: int
    count: int

    def part_of(self, every: Sequence[T]) -> Sequence[T]:
        """This one's."""
        return every[self.number :: self.count]


@dataclass
class Part:
    """A forked process, its stdin and its stdout."""

    pid: int
    stdin: TextIO
    stdout: TextIO
    is_over: bool = False

    def poll(self) -> bool:
        """Whether it has ended."""
        self.is_over = self.is_over or os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
        return self.is_over

    def ask(self, word: str) -> str:
        """Its answer to a word."""
        self.stdin.write(word + "\n")
        self.stdin.flush()
        return self.line()

    def line(self) -> str:
        """The next one that it says; empty when it has ended."""
        return self.stdout.readline().strip()

    def end(self, patience_s: float) -> None:
        """See it end: politely, then for sure."""
        until = time.monotonic() + patience_s
        while not self.poll() and time.monotonic() < until:
            time.sleep(0.02)
        if not self.is_over:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.stdin.close()
        self.stdout.close()


class _Stopped(Exception):
    """A signal has come."""


def serve_shards(count: int, prepare: Callable[[], object], live: Callable[[Shard], None]) -> None:
    """Have so many processes `live`, once `prepare` is done, until a signal comes; SubnetError when one ends by itself."""
    # Before anything that starts a thread: a forked process has none of them.
    parts: list[Part] = []
    for number in range(count):
        parts.append(_fork(Shard(number, count), parts, live))
    with ExitStack() as stack:
        for part in reversed(parts):
            stack.callback(part.end, PATIENCE_S)
        stack.callback(_terminate, parts)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stop)
        with suppress(_Stopped):
            prepare()
            if [part.ask(GO) for part in parts] != ["ready"] * count:
                raise SubnetError("a part of the farm did not get ready")
            _say("ready")
            _answer(parts)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        _terminate(parts)
        _say(_sum([part.line() for part in parts]))


def _fork(shard: Shard, before: Sequence[Part], live: Callable[[Shard], None]) -> Part:
    asked, told = os.pipe(), os.pipe()
    pid = os.fork()
    if pid:
        os.close(asked[0])
        os.close(told[1])
        return Part(pid, os.fdopen(asked[1], "w"), os.fdopen(told[0]))
    code = 1
    try:
        die_with_parent()
        os.dup2(asked[0], 0)
        os.dup2(told[1], 1)
        for descriptor in (
            *asked,
            *told,
            *(stream.fileno() for part in before for stream in (part.stdin, part.stdout)),
        ):
            os.close(descriptor)
        if os.read(0, len(GO) + 1):
            live(shard)
            code = 0
    except BaseException:  # noqa: BLE001  the top of a process: it says why it ends
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _Stopped


def _answer(parts: Sequence[Part]) -> None:
    """Answer each `cpu` on stdin with the sum; raises SubnetError when a part is gone, _Stopped from the signal."""
    with selectors.DefaultSelector() as heard:
        with suppress(OSError, ValueError):  # stdin is a file or closed: nobody will ask
            heard.register(0, selectors.EVENT_READ)
        while not any(part.poll() for part in parts):
            for _ in heard.select(1.0):
                asked = os.read(0, 4096)
                if not asked:
                    heard.unregister(0)
                for _ in range(asked.count(b"cpu")):
                    _say(_sum([part.ask("cpu") for part in parts]))
    raise SubnetError("a part of the farm has ended")


def _sum(lines: Sequence[str]) -> str:
    total: dict[str, float] = {}
    for line in lines:
        with suppress(ValueError):  # one that was ended before it was ready has nothing to tell
            for name, used_s in json.loads(line).items():
                total[name] = total.get(name, 0.0) + float(used_s)
    return json.dumps(total)


def _terminate(parts: Sequence[Part]) -> None:
    for part in parts:
        if not part.poll():
            os.kill(part.pid, signal.SIGTERM)


def _say(line: str) -> None:
    with suppress(BrokenPipeError):  # nobody listens any more
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
