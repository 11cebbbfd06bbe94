"""Rate limits: token buckets, many of them, in bounded memory, the clock passed in; and how many there are of something at once."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_BUCKETS = 20_000


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something may be done: `burst` at once, refilled at `per_s`."""

    per_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What came of asking a bucket."""

    is_granted: bool
    limit: int
    left: int
    wait_s: float
    """Until there is one; 0: there is."""

    @property
    def headers(self) -> dict[str, str]:
        """As clients know them; whole seconds, rounded up."""
        told = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.left),
            "RateLimit-Reset": str(math.ceil(self.wait_s)),
        }
        return told if self.is_granted else {**told, "Retry-After": str(max(1, math.ceil(self.wait_s)))}


class Buckets:
    """One bucket for each name; those that were not used for longest are forgotten, which only ever gives more."""

    def __init__(self, rate: Rate, clock: Callable[[], float], most: int = MAX_BUCKETS) -> None:
        self._rate, self._clock, self._most = rate, clock, most
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, cost: float = 1.0) -> Grant:
        """Take so many tokens, or none when there are not enough."""
        with self._lock:
            level = self._level(name)
            is_granted = level >= cost
            left = level - cost if is_granted else level
            self._levels[name] = (left, self._clock())
            self._levels.move_to_end(name)
            if len(self._levels) > self._most:
                self._levels.popitem(last=False)
        wait_s = 0.0 if left >= cost else (cost - left) / self._rate.per_s
        return Grant(is_granted, self._rate.burst, int(left), wait_s)

    def peek(self, name: str) -> Grant:
        """What taking one would come to, without taking it."""
        with self._lock:
            level = self._level(name)
        wait_s = 0.0 if level >= 1 else (1 - level) / self._rate.per_s
        return Grant(level >= 1, self._rate.burst, int(level), wait_s)

    def _level(self, name: str) -> float:
        level, at = self._levels.get(name, (float(self._rate.burst), self._clock()))
        return min(float(self._rate.burst), level + max(0.0, self._clock() - at) * self._rate.per_s)


class Counted:
    """How many of something each name has at once, bounded for each and for all."""

    def __init__(self, most_each: int, most: int) -> None:
        self._most_each, self._most = most_each, most
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}

    def enter(self, name: str) -> bool:
        """One more, if there is room."""
        with self._lock:
            held = self._held.get(name, 0)
            if held >= self._most_each or sum(self._held.values()) >= self._most:
                return False
            self._held[name] = held + 1
            return True

    def leave(self, name: str) -> None:
        """One less."""
        with self._lock:
            left = self._held[name] - 1
            if left:
                self._held[name] = left
            else:
                del self._held[name]
