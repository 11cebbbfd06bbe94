"""Machines and paid machines of the last epochs as bars, the newest on the right. Pure; looks are the stylesheet's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storage.records import EpochState, EpochSummary

WIDTH, HEIGHT = 640, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 6, 12, 26
FEWEST = 12
"""Epochs that there is room for; of fewer the bars stand on the left, and are no wider."""
GAP = 0.2
"""Of a bar's room."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One epoch: all its machines, and before them the paid ones."""

    summary: EpochSummary
    x: float
    width: float
    listed_y: float
    paid_y: float
    is_open: bool


@dataclass(frozen=True, slots=True)
class Bars:
    """Everything that is drawn."""

    bars: tuple[Bar, ...]
    most: int
    floor: float
    """Where bars stand."""
    labels: tuple[tuple[float, str], ...]
    """Numbers of the first and the last epoch, and where they stand."""


def bars_of(epochs: Sequence[EpochSummary]) -> Bars | None:
    """The picture; `epochs` with the newest first. None when no epoch has listed a machine."""
    most = max((one.executors for one in epochs), default=0)
    if not most:
        return None
    floor, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    step = (WIDTH - LEFT - RIGHT) / max(len(epochs), FEWEST)

    def top(count: int) -> float:
        return round(floor - room * count / most, 1)

    bars = tuple(
        Bar(
            summary=one,
            x=round(LEFT + step * (number + GAP / 2), 1),
            width=round(step * (1 - GAP), 1),
            listed_y=top(one.executors),
            paid_y=top(one.paid),
            is_open=one.state is EpochState.OPEN,
        )
        for number, one in enumerate(reversed(epochs))
    )
    ends = (bars[0],) if len(bars) == 1 else (bars[0], bars[-1])
    labels = tuple((round(bar.x + bar.width / 2, 1), str(bar.summary.header.epoch)) for bar in ends)
    return Bars(bars, most, floor, labels)
