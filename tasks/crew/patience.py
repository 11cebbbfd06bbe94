"""How long a visit may take, measured by what the others took: who hangs costs the epoch no more than a few seconds.

Nothing is cut while most are not through, and whoever is slow has ten seconds however quick the others are. What a
visit waits for on our side (its turn to connect, and to measure bandwidth) does not count.
"""

from __future__ import annotations

from collections.abc import Hashable
from statistics import median
from typing import Generic, TypeVar

SHARE = 0.75
"""Of a hand's visits that must be over before any is cut."""
TIMES = 3.0
"""What the median took, so often."""
LEAST_S = 10.0

Key = TypeVar("Key", bound=Hashable)


class Patience(Generic[Key]):
    """Keeps the time of a hand's visits; instants are of one monotonic clock."""

    def __init__(self) -> None:
        self._expected = self._over = 0
        self._took_s: list[float] = []
        self._began: dict[Key, float] = {}
        self._paused: dict[Key, float] = {}

    def expect(self, count: int) -> None:
        """So many visits more are asked for."""
        self._expected += count

    def begin(self, key: Key, now: float) -> None:
        """The first word to a machine; a second beginning changes nothing."""
        self._began.setdefault(key, now)

    def pause(self, key: Key, now: float) -> None:
        """From now on it waits for us."""
        self._paused[key] = now

    def resume(self, key: Key, now: float) -> None:
        """And no longer."""
        waited_s = now - self._paused.pop(key, now)
        if key in self._began:
            self._began[key] += waited_s

    def end(self, key: Key, now: float) -> None:
        """The visit is over, whatever it came to."""
        self._paused.pop(key, None)
        self._over += 1
        began = self._began.pop(key, None)
        if began is not None:
            self._took_s.append(now - began)

    @property
    def limit_s(self) -> float | None:
        """What a visit may take; None while most are not through."""
        if not self._over or self._over < SHARE * self._expected:
            return None
        return max(LEAST_S, TIMES * median(self._took_s or [0.0]))

    def late(self, now: float) -> list[Key]:
        """Whose visits have taken longer."""
        limit_s = self.limit_s
        if limit_s is None:
            return []
        return [k for k, began in self._began.items() if now - began > limit_s and k not in self._paused]
