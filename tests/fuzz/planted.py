"""Targets with a defect each, for the tests of the fuzzer itself."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator

from tests.fuzz.target import Limits, Target

LIMITS = Limits(cpu_s=0.05, grown_mib=20.0, wall_s=0.3, threads_left_s=0.1)
_DEFECT = b"7"
"""An input that ends so meets the defect: one in eight."""


def _make(rng: random.Random) -> bytes:
    return b"input %d" % rng.randrange(8)


def _planted(name: str, defect: Callable[[], object]) -> Target:
    @contextlib.contextmanager
    def opened() -> Iterator[Callable[[bytes], None]]:
        yield lambda data: defect() if data.endswith(_DEFECT) else None

    return Target(name, _make, opened, LIMITS)


def _err() -> None:
    raise KeyError("what nobody caught")


def _burn() -> None:
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass


def _grow() -> int:
    return sum(bytearray(40 << 20)[:: 1 << 20])


def _leave() -> None:
    threading.Thread(target=time.sleep, args=(1.0,), daemon=True).start()


def _hang() -> None:
    time.sleep(3_600.0)


TARGETS = (
    _planted("errs", _err),
    _planted("burns", _burn),
    _planted("grows", _grow),
    _planted("waits", lambda: time.sleep(0.4)),
    _planted("leaves", _leave),
    _planted("hangs", _hang),
    _planted("crashes", lambda: os._exit(11)),
)
