"""Child processes that are begun again when they die, as a unit of systemd's with `Restart=always`."""

from __future__ import annotations

import time
from collections.abc import Callable

from deployments.processes import Child, ChildDied

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
STEADY_S = 60.0
"""Whoever lived so long has not died of its start: pauses begin anew."""
MOST_DEATHS = 10
"""In a row, none of them after a steady life: then it is given up."""


class Supervised:
    """One child and how to begin it again; `look` now and then, from the thread that began it."""

    def __init__(
        self,
        child: Child,
        begin: Callable[[], Child],
        *,
        began_again: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.child = child
        self._begin, self._began_again, self._now = begin, began_again, now
        self._since, self._deaths, self._due = now(), 0, 0.0

    def look(self) -> str:
        """What is to be told: empty, or that it has died and what becomes of it; ChildDied when it dies again and again."""
        code = self.child.process.poll()
        if code is None:
            return ""
        if not self._due:
            return self._has_died(code)
        if self._now() < self._due:
            return ""
        self._due = 0.0
        self.child = self._begin()
        self._since = self._now()
        self._began_again()
        return f"the {self.child.name} is begun again"

    def stop(self, grace_s: float = 5.0) -> None:
        """End it, whichever of its lives it is in."""
        self.child.stop(grace_s)

    def _has_died(self, code: int) -> str:
        self._deaths = 1 if self._now() - self._since > STEADY_S else self._deaths + 1
        if self._deaths > MOST_DEATHS:
            raise ChildDied(self.child.name, code, self.child.log)
        self.child.stop(0.0)  # what it has left of its group
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (self._deaths - 1))
        self._due = self._now() + pause_s
        return f"the {self.child.name} ended with exit code {code}; begun again in {pause_s:g} s, see {self.child.log}"
