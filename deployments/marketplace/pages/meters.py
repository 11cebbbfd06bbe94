"""What a lease used as pictures beside each other: a line for each card, or for each way of disk and network. Pure.

    charts_of(samples, card_uuids, span)     Charts; looks are the stylesheet's

Of many samples some hundred points are drawn, each the mean of its stretch; what is told in words is of the samples themselves.
A line breaks where nothing was measured for longer than samples of that age are apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from storage.health import Metric
from storage.rental import CardUse

WIDTH, HEIGHT = 360, 132
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 22
POINTS = 120
COLOURS = 8
MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0
FINE_GAP_S, MINUTE_GAP_S, HOUR_GAP_S = 150.0, 200.0, 9_000.0
"""Longest way between two samples that are drawn as one line: of the last hour, of the last day, of before."""
EDGE = 20.0
"""No time stands so near to the picture's end that it would be cut."""
STEPS_S = (60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800)
MOST_TICKS = 5
_ROUNDED = 10_000
"""From here on a figure of at most four digits and zeros is one that an engine has rounded."""
_MIB, _GIB = 1 << 20, 1 << 30

Points = Sequence[tuple[float, float]]
"""Seconds from the span's begin, and values."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is shown."""

    begin: datetime
    end: datetime
    seen: datetime | None = None
    """When it is looked at, if that is later: of what was long ago less is kept."""

    @property
    def seconds(self) -> float:
        """Its length, at least a minute."""
        return max(MINUTE_S, (self.end - self.begin).total_seconds())


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid and what stands at it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series."""

    name: str
    colour: int
    path: str
    newest: str
    """With its unit."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One quantity."""

    key: str
    title: str
    unit: str
    lines: tuple[Line, ...]
    """None: nothing was told of it."""
    up: tuple[Tick, ...]
    label: str
    """All of it in words."""
    note: str = ""
    """Of how much it is, where that is known."""


@dataclass(frozen=True, slots=True)
class Charts:
    """All quantities over one span."""

    charts: tuple[Chart, ...]
    across: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class _Unit:
    """How values of a quantity are written."""

    factor: float
    name: str
    digits: int = 0

    def text(self, value: float) -> str:
        scaled = value / self.factor
        return f"{scaled:,.{self.digits if scaled < 100 else 0}f} {self.name}"


_PERCENT, _CELSIUS, _WATT = _Unit(1, "%"), _Unit(1, "°C"), _Unit(1, "W")
_CORES = _Unit(1, "cores", 2)
_SIZES = (_Unit(_MIB, "MiB"), _Unit(_GIB, "GiB", 1))
_RATES = (_Unit(1, "B/s"), _Unit(1e3, "kB/s", 1), _Unit(1e6, "MB/s", 1), _Unit(1e9, "GB/s", 1))


def charts_of(samples: Sequence[Metric], card_uuids: Sequence[str], span: Span) -> Charts:
    """The pictures of these samples, oldest first; `card_uuids` in the order in which they are numbered."""
    draw = _Drawing(samples, span)
    cards = [(f"card {n}", uuid) for n, uuid in enumerate(card_uuids, 1)]

    def of_cards(read: Callable[[CardUse], float | None]) -> list[tuple[str, Points]]:
        return [(name, draw.card(uuid, read)) for name, uuid in cards]

    vram = _most(card.memory_total_mib for one in samples for card in one.cards) * _MIB
    limit_w = _most(card.power_limit_w for one in samples for card in one.cards)
    ram = _most(one.memory_limit_bytes for one in samples)
    each = " each" if len(cards) > 1 else ""
    return Charts(
        charts=(
            draw.chart("gpu", "GPU use", of_cards(lambda c: c.percent), [_PERCENT], top=100),
            draw.chart(
                "vram",
                "GPU memory",
                of_cards(lambda c: c.memory_mib * _MIB),
                _SIZES,
                top=vram,
                note=f"of {_size(vram)}{each}" if vram else "",
            ),
            draw.chart("heat", "GPU temperature", of_cards(lambda c: c.temperature_c), [_CELSIUS], top=100),
            draw.chart(
                "power",
                "GPU power",
                of_cards(lambda c: c.power_w),
                [_WATT],
                limit=limit_w,
                note=f"limit {_WATT.text(limit_w)}" if limit_w else "",
            ),
            draw.chart(
                "cpu",
                "Processor",
                [("in use", draw.points(lambda m: _over(m.cpu_percent, 100)))],
                [_CORES],
            ),
            draw.chart(
                "ram",
                "Memory",
                [("in use", draw.points(lambda m: m.memory_bytes))],
                _SIZES,
                limit=ram,
                note=f"of {_size(ram)}" if ram else "",
            ),
            draw.chart(
                "disk",
                "Disk",
                [
                    ("read", draw.rates(lambda m: m.read_bytes)),
                    ("written", draw.rates(lambda m: m.written_bytes)),
                ],
            ),
            draw.chart(
                "network",
                "Network",
                [
                    ("received", draw.rates(lambda m: m.received_bytes)),
                    ("sent", draw.rates(lambda m: m.sent_bytes)),
                ],
            ),
        ),
        across=_times(span),
    )


class _Drawing:
    """Samples to lines."""

    def __init__(self, samples: Sequence[Metric], span: Span) -> None:
        self._length_s = span.seconds
        self._age_s = ((span.seen or span.end) - span.begin).total_seconds()
        self._stretch_s = self._length_s / POINTS
        self._timed = [((one.at - span.begin).total_seconds(), one) for one in samples]
        self._cards: dict[str, list[tuple[float, CardUse]]] = {}
        for second, one in self._timed:
            for card in one.cards if second >= 0 else ():
                self._cards.setdefault(card.uuid, []).append((second, card))

    def card(self, uuid: str, read: Callable[[CardUse], float | None]) -> Points:
        """Of one card, when it told it."""
        timed = self._cards.get(uuid, ())
        return [(second, value) for second, card in timed if (value := read(card)) is not None]

    def points(self, read: Callable[[Metric], float | None]) -> Points:
        """Of those samples that told it."""
        return [
            (second, value) for second, one in self._timed if second >= 0 and (value := read(one)) is not None
        ]

    def rates(self, read: Callable[[Metric], int | None]) -> Points:
        """What was added a second, between samples that are near enough and told equally exactly."""
        told = [(second, value) for second, one in self._timed if (value := read(one)) is not None]
        return [
            (second, (value - before) / (second - earlier))
            for (earlier, before), (second, value) in pairwise(told)
            if second >= 0
            and 0 < second - earlier <= self._gap_s(second)
            and value >= before
            and _equally_exact(before, value)
        ]

    def chart(
        self,
        key: str,
        title: str,
        series: Sequence[tuple[str, Points]],
        units: Sequence[_Unit] = _RATES,
        *,
        top: float = 0.0,
        limit: float = 0.0,
        note: str = "",
    ) -> Chart:
        """One picture up to `top`, or up to what was the most; up to `limit`, too, where that is not far above."""
        told = [(name, points) for name, points in series if points]
        most = max((value for _, points in told for _, value in points), default=0.0)
        unit = _unit(units, max(top, most))
        ceiling = max(top, most) if top else _ceiling(most / unit.factor) * unit.factor
        ceiling = limit if limit and limit / 4 <= most <= limit else ceiling
        lines = tuple(
            Line(
                name=name,
                colour=number % COLOURS,
                path=self._path(points, ceiling),
                newest=_text(units, points[-1][1]),
            )
            for number, (name, points) in enumerate(series)
            if points
        )
        ticks = tuple(
            Tick(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share, _short(share * ceiling / unit.factor))
            for share in (0.0, 0.5, 1.0)
        )
        return Chart(key, title, unit.name, lines, ticks, _label(title, told, units, note), note)

    def _gap_s(self, second: float) -> float:
        age_s = self._age_s - second
        gap_s = FINE_GAP_S if age_s <= HOUR_S else MINUTE_GAP_S if age_s <= DAY_S else HOUR_GAP_S
        return max(gap_s, 3 * self._stretch_s)

    def _path(self, points: Points, ceiling: float) -> str:
        """Moves and lines; a point that stands alone is a stroke of no length, which a round end makes a dot."""
        drawn, last = [], None
        across, up = (WIDTH - LEFT - RIGHT) / self._length_s, (HEIGHT - TOP - BOTTOM) / ceiling
        for second, value in _means(points, self._stretch_s):
            x = round(min(LEFT + across * second, WIDTH - RIGHT), 1)
            y = round(max(HEIGHT - BOTTOM - up * value, TOP), 1)
            is_on = last is not None and second - last <= self._gap_s(second)
            drawn.append(f"L{x:g} {y:g}" if is_on else f"M{x:g} {y:g}h0")
            last = second
        return "".join(drawn)


def _means(points: Points, stretch_s: float) -> Points:
    """The points, or the mean of each stretch where there are more."""
    if len(points) <= POINTS + POINTS // 4:
        return points
    stretches: dict[int, list[float]] = {}
    for second, value in points:
        sums = stretches.setdefault(int(second / stretch_s), [0.0, 0.0, 0.0])
        sums[0] += second
        sums[1] += value
        sums[2] += 1.0
    return [(seconds / count, values / count) for seconds, values, count in stretches.values()]


def _label(title: str, told: Sequence[tuple[str, Points]], units: Sequence[_Unit], note: str) -> str:
    """`GPU use: card 1 now 97 %, least 3 %, most 99 %; card 2 ...`."""
    if not told:
        return f"{title}: not told"
    words = []
    for name, points in told:
        values = [value for _, value in points]
        newest, least, most = (_text(units, value) for value in (values[-1], min(values), max(values)))
        words.append(f"{name} newest {newest}, least {least}, most {most}")
    return f"{title}: {'; '.join(words)}{f'; {note}' if note else ''}"


def _ceiling(most: float) -> float:
    """The next of 1, 2, 5, 10, ... above it."""
    if most <= 0:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(most))
    return next(digit * decade for digit in (1, 2, 5, 10) if digit * decade >= most * (1 - 1e-9))


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _unit(units: Sequence[_Unit], most: float) -> _Unit:
    """The largest in which there is at least one of it."""
    return next((unit for unit in reversed(units) if most >= unit.factor), units[0])


def _text(units: Sequence[_Unit], value: float) -> str:
    return _unit(units, value).text(value)


def _size(value: float) -> str:
    unit = _unit(_SIZES, value)
    return f"{_short(round(value / unit.factor, 1))} {unit.name}"


def _times(span: Span) -> tuple[Tick, ...]:
    """Times of day in UTC, days where the span is of several."""
    step_s = next((step for step in STEPS_S if span.seconds / step <= MOST_TICKS), STEPS_S[-1])
    if span.seconds / step_s > MOST_TICKS:
        step_s *= math.ceil(span.seconds / step_s / MOST_TICKS)
    first = math.ceil(span.begin.timestamp() / step_s) * step_s
    ticks = []
    for number in range(MOST_TICKS + 2):
        at = datetime.fromtimestamp(first + number * step_s, UTC)
        part = (at - span.begin) / timedelta(seconds=span.seconds)
        x = round(LEFT + (WIDTH - LEFT - RIGHT) * part, 1)
        if LEFT + EDGE <= x <= WIDTH - EDGE:
            ticks.append(Tick(x, f"{at:%b} {at.day}" if step_s >= DAY_S else f"{at:%H:%M}"))
    return tuple(ticks)


def _equally_exact(before: int, value: int) -> bool:
    """Whether both are an engine's rounded figures or neither is: else their difference is mostly the rounding's."""
    small = before < _ROUNDED or value < _ROUNDED
    return small or _is_rounded(before) == _is_rounded(value)


def _is_rounded(value: int) -> bool:
    return value >= _ROUNDED and len(str(value).rstrip("0")) <= 4


def _most(values: Iterable[float | None]) -> float:
    return max((value for value in values if value is not None), default=0.0)


def _over(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit
