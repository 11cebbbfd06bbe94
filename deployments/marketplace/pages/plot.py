"""Price against proved performance as points of a picture: logarithms on both axes, ticks at 1, 2 and 5. Pure.

The best points are links. So are the others where they are few; many of them are one path for each model, which a browser draws
in a tenth of the time, and become links when somebody points at the picture.

The picture is SVG in the page itself; its looks are the stylesheet's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from deployments.marketplace.pages.choosing import Choice

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 30, 50
LINKED = 300
"""So many points are links at once."""
SERIES = 7
"""Models with a colour of their own; the others share the last one."""
OTHERS = "other models"
LEAST_GB_S = 1e-3
"""No card proves less: what is below it has not proved any."""


@dataclass(frozen=True, slots=True)
class Point:
    """One machine."""

    choice: Choice
    x: float
    y: float
    series: int


@dataclass(frozen=True, slots=True)
class Dots:
    """Points of one colour that are no links yet."""

    series: int
    path: str
    """A line of no length at each; round ends make dots of them."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid and what stands at it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Everything that is drawn."""

    points: tuple[Point, ...]
    """The best ones last: they lie over the others."""
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    legend: tuple[tuple[int, str], ...]
    frontier: str
    """The corners of the line through the Pareto set."""
    left_out: int
    """Machines without a price or a known bandwidth."""

    @property
    def linked(self) -> tuple[Point, ...]:
        """The points that are links from the beginning."""
        few = len(self.points) <= LINKED
        return tuple(point for point in self.points if few or point.choice.is_best)

    @property
    def others(self) -> tuple[Point, ...]:
        """The points that become links."""
        return self.points[: len(self.points) - len(self.linked)]

    @property
    def dots(self) -> tuple[Dots, ...]:
        """Those points as they are drawn before, by their colour."""
        others = self.others
        return tuple(
            Dots(number, "".join(f"M{point.x} {point.y}h0" for point in others if point.series == number))
            for number in sorted({point.series for point in others})
        )


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values to places, by their logarithms."""

    low: float
    high: float
    begin: float
    end: float

    def place(self, value: float) -> float:
        part = (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return round(self.begin + part * (self.end - self.begin), 1)

    def ticks(self) -> tuple[Tick, ...]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        inside = [value for value in values if self.low <= value <= self.high]
        return tuple(Tick(self.place(value), f"{value:,g}") for value in inside)


def plot_of(choices: Sequence[Choice]) -> Plot | None:
    """The picture of these machines; None when there is nothing to draw."""
    drawn = [
        one for one in choices if one.micro_usd_per_card_hour > 0 and one.offer.bandwidth_gb_s >= LEAST_GB_S
    ]
    if not drawn:
        return None
    across = _axis((one.micro_usd_per_card_hour / 1e6 for one in drawn), LEFT, WIDTH - RIGHT)
    up = _axis((one.offer.bandwidth_gb_s for one in drawn), HEIGHT - BOTTOM, TOP)
    legend = _legend(drawn)
    series = {name: number for number, name in legend}
    points = [
        Point(
            one,
            across.place(one.micro_usd_per_card_hour / 1e6),
            up.place(one.offer.bandwidth_gb_s),
            series.get(one.offer.model, SERIES),
        )
        for one in sorted(drawn, key=lambda one: one.is_best)
    ]
    return Plot(
        points=tuple(points),
        across=across.ticks(),
        up=up.ticks(),
        legend=legend,
        frontier=_frontier(points),
        left_out=len(choices) - len(drawn),
    )


def _axis(values: Iterable[float], begin: float, end: float) -> _Axis:
    """From below the least to above the greatest, at least a factor of two wide."""
    kept = list(values)
    low, high = min(kept) / 1.15, max(kept) * 1.15
    if high / low < 2:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(2), middle * math.sqrt(2)
    return _Axis(low, high, begin, end)


def _legend(drawn: Iterable[Choice]) -> tuple[tuple[int, str], ...]:
    """The most frequent models first; of equal ones the first by name."""
    counts = sorted(Counter(one.offer.model for one in drawn).items(), key=lambda item: (-item[1], item[0]))
    named = tuple((number, model) for number, (model, _) in enumerate(counts[:SERIES]))
    return (*named, (SERIES, OTHERS)) if len(counts) > SERIES else named


def _frontier(points: Iterable[Point]) -> str:
    """Steps: at each price the most bandwidth that can be had for it."""
    corners = sorted({(point.x, point.y) for point in points if point.choice.is_best})
    steps = [f"{corners[0][0]},{corners[0][1]}"] if corners else []
    for (_, before), (x, y) in pairwise(corners):
        steps += [f"{x},{before}", f"{x},{y}"]
    return " ".join(steps)
