"""The pictures of the report, a module each: figures (arithmetic over the frames), the sentence, the drawing."""

from __future__ import annotations

from collections.abc import Callable

from tasks.reporting.frames import Frames
from tasks.reporting.picture import Missing, Picture
from tasks.reporting.pictures import (
    checks,
    emission,
    leases,
    memory,
    network,
    phases,
    prices,
    scores,
    steps,
    uptime,
    zeros,
)

ALL: tuple[Callable[[Frames], Picture | Missing], ...] = (
    network.picture,
    memory.picture,
    emission.picture,
    checks.picture,
    zeros.picture,
    scores.picture,
    prices.picture,
    leases.picture,
    phases.picture,
    steps.picture,
    uptime.picture,
)
"""In the order of the page."""


def pictures_of(frames: Frames) -> tuple[Picture | Missing, ...]:
    """All pictures of these days, none drawn yet."""
    return tuple(make(frames) for make in ALL)
