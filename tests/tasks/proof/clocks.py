"""A clock that stands still until it is moved."""

from __future__ import annotations

import threading


class HandClock:
    """Seconds that only `move` advances; waiters are told, and nobody waits on real time."""

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = threading.Condition()
        self._waiting: dict[int, threading.Condition] = {}

    def now(self) -> float:
        with self._lock:
            return self._now

    def wait(self, changed: threading.Condition, until: float) -> None:
        me = threading.get_ident()
        with self._lock:
            if self._now >= until:
                return
            self._waiting[me] = changed
            self._lock.notify_all()
        changed.wait()
        with self._lock:
            del self._waiting[me]

    def until_waiting(self, count: int) -> None:
        """Return once so many threads wait on this clock."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self._waiting) >= count, timeout=30)

    def move(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds
            waiting = set(self._waiting.values())
        for changed in waiting:
            with changed:
                changed.notify_all()
