"""How many sessions a hand starts in a second: as many as it keeps up with, and more when its time is short.

A hand that can't keep up is late with everything, the machines' answers included, which costs honest ones their figures.
So its starts slow down until it is in time again; the phase's end decides how fast they may be at most.
"""

from __future__ import annotations

from dataclasses import dataclass

LOOK_S = 0.1
"""How often a hand looks how late it is."""
LATE_S, IN_TIME_S = 0.25, 0.05
BRAKE, GAS = 0.7, 1.05
LEAST_SHARE = 0.1
"""Of the usual rate: nobody stands still."""
MOST_SHARE = 4.0
"""Of the usual rate, however short the time is."""
VISIT_S = 10.0
"""What a visit of a machine that is far away takes: starts must be over so long before the phase is."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A hand's rate of starts."""

    usual_per_s: float
    now_per_s: float

    def next(self, late_s: float, waiting: int, left_s: float) -> Pace:
        """After a look: so late it was, and so many machines wait for a turn with so much time left."""
        most = self.most_per_s(waiting, left_s)
        if late_s > LATE_S:
            rate = self.now_per_s * BRAKE
        elif late_s < IN_TIME_S:
            rate = self.now_per_s * GAS
        else:
            rate = self.now_per_s
        return Pace(self.usual_per_s, min(most, max(self.usual_per_s * LEAST_SHARE, rate)))

    def most_per_s(self, waiting: int, left_s: float) -> float:
        """The usual rate, or what it takes to start all who wait in time."""
        needed = waiting / max(1.0, left_s - VISIT_S)
        return min(self.usual_per_s * MOST_SHARE, max(self.usual_per_s, needed))
