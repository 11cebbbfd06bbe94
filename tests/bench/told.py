"""What a validator's process tells the bench."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Told:
    """What one piece of work was and took."""

    executors: int
    cards: int
    proved: int
    cpu_s: float
    wall_s: float
    peak_mib: float = 0.0
    """Of the process and its children, as far as it was looked at."""
