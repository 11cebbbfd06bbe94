"""A target of the fuzzer: what makes its inputs, and what is done with each."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one input may cost; beyond it, it is a finding."""

    cpu_s: float = 0.1
    grown_mib: float = 20.0
    wall_s: float = 2.0
    threads_left_s: float = 2.0
    """So long afterwards no thread may be left."""


DEFAULT = Limits()


@dataclass(frozen=True)
class Target:
    """Something of ours that reads what strangers send."""

    name: str
    make: Callable[[random.Random], bytes]
    """The next input, by chance alone."""
    opened: Callable[[], AbstractContextManager[Callable[[bytes], None]]]
    """What takes an input: it raises for a finding alone. Open for as long as inputs come."""
    limits: Limits = DEFAULT
