"""How long a visit may take, measured by what the others took: who hangs costs the epoch no more than a few seconds.

Nothing is cut while most are not through, and whoever is slow has ten seconds however quick the others are; a stranger in
a hurried epoch (`tasks/strangers.py`) has three for each answer, once some are through. What a visit waits for on our
side (its turn to connect, and to measure bandwidth) does not count.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable
from typing import Generic, TypeVar

SHARE = 0.75
"""Of a hand's visits that must be over before any is cut."""
SOME = 10
"""Visits that must be over before a stranger is cut: they tell how busy we are ourselves."""
TIMES = 3.0
"""What the median took, so often."""
LEAST_S = 10.0
ANSWER_S = 3.0
"""For one answer of a stranger, or what a whole visit took in the median, if that is more."""

Key = TypeVar("Key", bound=Hashable)


class Patience(Generic[Key]):
    """Keeps the time of a hand's visits; instants are of one monotonic clock."""

    def __init__(self) -> None:
        self._expected = self._over = 0
        self._took_s: list[float] = []
        """In order, since its middle is asked for ten times a second."""
        self._began: dict[Key, float] = {}
        self._heard: dict[Key, float] = {}
        """Of strangers alone, when they had answered last."""
        self._paused: dict[Key, float] = {}

    def expect(self, count: int) -> None:
        """So many visits more are asked for."""
        self._expected += count

    def begin(self, key: Key, now: float, *, is_hurried: bool = False) -> None:
        """The first word to a machine; a second beginning changes nothing."""
        if key not in self._began:
            self._began[key] = now
            if is_hurried:
                self._heard[key] = now

    def hear(self, key: Key, now: float) -> None:
        """It has answered."""
        if key in self._heard:
            self._heard[key] = now

    def pause(self, key: Key, now: float) -> None:
        """From now on it waits for us."""
        self._paused[key] = now

    def resume(self, key: Key, now: float) -> None:
        """And no longer."""
        waited_s = now - self._paused.pop(key, now)
        for instants in (self._began, self._heard):
            if key in instants:
                instants[key] += waited_s

    def end(self, key: Key, now: float) -> None:
        """The visit is over, whatever it came to."""
        self._paused.pop(key, None)
        self._heard.pop(key, None)
        self._over += 1
        began = self._began.pop(key, None)
        if began is not None:
            insort(self._took_s, now - began)

    @property
    def limit_s(self) -> float | None:
        """What a visit may take; None while most are not through."""
        if not self._over or self._over < SHARE * self._expected:
            return None
        return max(LEAST_S, TIMES * self._median_s)

    @property
    def _median_s(self) -> float:
        return self._took_s[len(self._took_s) // 2] if self._took_s else 0.0

    def late(self, now: float) -> dict[Key, float]:
        """Whose visits have taken longer, each with the seconds that it had."""
        late: dict[Key, float] = {}
        if self._over >= min(SOME, SHARE * self._expected):
            answer_s = max(ANSWER_S, self._median_s)
            late |= {key: answer_s for key, heard in self._heard.items() if now - heard > answer_s}
        if (limit_s := self.limit_s) is not None:
            late |= {key: limit_s for key, began in self._began.items() if now - began > limit_s}
        return {key: had_s for key, had_s in late.items() if key not in self._paused}
