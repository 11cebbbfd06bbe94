"""The daily report's charts as lines and areas of SVG: the report's own figures, sentences and tables, drawn for a page. Pure.

charts_of(frames) -> sections, each a picture of the report (or why there is none) with its panels; looks are the stylesheet's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.reporting.concentration import lorenz
from tasks.reporting.drawing import hotkey, label, number, percent
from tasks.reporting.frames import Frames
from tasks.reporting.palette import Palette
from tasks.reporting.picture import Missing, Picture
from tasks.reporting.pictures import checks, emission, memory, network, phases, prices, scores, uptime
from tasks.reporting.slots import Slots

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 66, 10, 30, 30
FLOOR = HEIGHT - BOTTOM
SERIES = 7
"""Series with a colour of their own; the others share the last one."""
MOST_BARS, ROW = 12, 44
MOST_MINERS, MINER_ROW = 24, 22
MOST_POINTS = 2_000
SHADES = (
    (0.0, "u0", "none passed"),
    (0.5, "u1", "under half"),
    (0.9, "u2", "under 90 %"),
    (math.nextafter(1.0, 0.0), "u3", "under all"),
    (1.0, "u4", "all passed"),
)
"""Up to which share, the look, and its name."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A path."""

    look: str
    d: str


@dataclass(frozen=True, slots=True)
class Word:
    """Text in a picture; foreign text is escaped by the template."""

    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawing."""

    height: float
    strokes: tuple[Stroke, ...]
    words: tuple[Word, ...]
    legend: tuple[tuple[str, str], ...] = ()
    """Look and name."""


@dataclass(frozen=True, slots=True)
class Section:
    """A picture of the report with its panels; none where the archive does not tell it."""

    picture: Picture | Missing
    panels: tuple[Panel, ...]

    @property
    def is_missing(self) -> bool:
        """Whether there is only a sentence."""
        return isinstance(self.picture, Missing)


def charts_of(frames: Frames) -> tuple[Section, ...]:
    """All, in the report's order."""
    return tuple(Section(make(frames), tuple(draw(frames))) for make, draw in _DRAWN)


# --- each picture ---------------------------------------------------------------------------------------


def _network(frames: Frames) -> Iterator[Panel]:
    found = network.network(frames)
    if found is None:
        return
    looks = _looks(found.palette)
    most = max(1.0, float(found.listed.max()))
    yield _stacked(
        found.slots,
        found.passed,
        looks,
        most,
        "cards",
        (Stroke("line dashed", _steps(found.slots, found.listed, most, is_closed=False)),),
        (("dashed", "all listed cards"),),
    )


def _memory(frames: Frames) -> Iterator[Panel]:
    found = memory.memory(frames)
    if found is None:
        return
    most = float(found.listed_bytes.max())
    rows = [
        (
            f"{label(str(model), 30)}: {percent(proved / listed)} of {_tib(listed)} proved",
            ((listed / most, "s7"), (proved / most, "s0")),
        )
        for (model, listed), proved in zip(found.listed_bytes.items(), found.proved_bytes, strict=True)
    ]
    yield _bars(rows[:MOST_BARS], (("s7", "listed"), ("s0", "proved")))


def _emission(frames: Frames) -> Iterator[Panel]:
    found = emission.emission(frames)
    if found is None or found.miners.empty:
        return
    looks = {kind: f"s{at}" for at, kind in enumerate(found.kinds)}
    lines = [Stroke("line dashed", f"M{LEFT} {FLOOR}L{WIDTH - RIGHT} {TOP}")]
    for kind in found.kinds:
        x, y = lorenz(found.miners[kind])
        corners = [f"{_across(a)} {_up(b)}" for a, b in zip(x, y, strict=True)]
        lines.append(Stroke(f"line {looks[kind]}", "M" + "L".join(corners)))
    legend = (("dashed", "all alike"), *((looks[kind], emission.NAMES[kind]) for kind in found.kinds))
    words = (
        Word(LEFT - 6, TOP + 5, "100 %", "end"),
        Word(LEFT - 6, FLOOR, "0 %", "end"),
        Word(LEFT, HEIGHT - 8, "the poorest miners ..."),
        Word(WIDTH - RIGHT, HEIGHT - 8, "... have so much of all", "end"),
    )
    yield Panel(HEIGHT, (_frame(), *lines), words, legend)
    shown = found.miners.head(MOST_BARS)
    most = max([*(float(shown[kind].max()) for kind in found.kinds), *found.burned.values(), 1e-12])
    named = [
        (f"uid {row['uid']} {hotkey(label(str(row['hotkey']), 60))}", [row[k] for k in found.kinds])
        for _, row in shown.iterrows()
    ]
    named.append(("burned", [found.burned[kind] for kind in found.kinds]))
    rows = [
        (
            f"{name}: {', '.join(percent(value) for value in values)}",
            tuple((value / most, looks[kind]) for kind, value in zip(found.kinds, values, strict=True)),
        )
        for name, values in named
    ]
    yield _bars(rows, tuple((looks[kind], emission.NAMES[kind]) for kind in found.kinds))


def _checks(frames: Frames) -> Iterator[Panel]:
    found = checks.checks(frames)
    if found is None or found.rows.empty:
        return
    rows = found.rows.head(MOST_BARS)
    lowest = 10.0 ** math.floor(math.log10(float(rows["share"].min()) * 0.8))
    drawn = [
        (
            f"{label(row['code'], 34)}: {percent(row['share'])} got it",
            ((_log_part(float(row["share"]), lowest, 1.0), "s6" if row["has_effect"] else "s7"),),
        )
        for _, row in rows.iterrows()
    ]
    yield _bars(drawn, (("s6", "costs the pay"), ("s7", "without effect")))


def _scores(frames: Frames) -> Iterator[Panel]:
    found = scores.scores(frames)
    if found is None:
        return
    edges = scores.edges_of(found.paid) if len(found.paid) else np.array([])
    counts = np.histogram(found.paid, edges)[0] if len(found.paid) else np.array([], dtype=int)
    most = max([found.unpaid, *counts.tolist(), 1])
    begin = LEFT + 60
    step = (WIDTH - RIGHT - begin) / max(1, len(counts))
    strokes = [_frame(), _block("s6", LEFT + 8, 36, found.unpaid / most)]
    strokes += [
        _block("s0", begin + at * step, step * 0.9, count / most) for at, count in enumerate(counts) if count
    ]
    words = [*_scale(most), Word(LEFT + 26, HEIGHT - 8, "0", "middle")]
    if len(edges):
        words += [
            Word(begin, HEIGHT - 8, number(edges[0])),
            Word(WIDTH - RIGHT, HEIGHT - 8, f"{number(edges[-1])} {found.short_unit}".strip(), "end"),
        ]
    yield Panel(HEIGHT, tuple(strokes), tuple(words), (("s6", "scored 0"), ("s0", "paid, by mean score")))


def _prices(frames: Frames) -> Iterator[Panel]:
    found = prices.prices(frames)
    if found is None:
        return
    rows = found.machines.iloc[:: -(-len(found.machines) // MOST_POINTS)]
    across, up = _log_axis(rows["proved_gb_s"]), _log_axis(rows["price_usd_per_hour"])
    looks, points = _looks(found.palette), defaultdict(list)
    series = found.palette.series_of(rows["model"])
    for name, gb_s, usd in zip(series, rows["proved_gb_s"], rows["price_usd_per_hour"], strict=True):
        points[looks[name]].append(f"M{_across(_log_part(gb_s, *across))} {_up(_log_part(usd, *up))}h0")
    strokes = [Stroke(f"points {look}", "".join(some)) for look, some in sorted(points.items())]
    ends = [
        (_log_part(gb_s, *across), _log_part(max(found.median * gb_s / 1_000, 1e-12), *up)) for gb_s in across
    ]
    line = "M" + "L".join(f"{_across(x)} {_up(min(1.0, max(0.0, y)))}" for x, y in ends)
    words = (
        Word(LEFT - 6, TOP + 5, number(up[1]), "end"),
        Word(LEFT - 6, FLOOR, number(up[0]), "end"),
        Word(LEFT, TOP - 12, "USD/h"),
        Word(LEFT, HEIGHT - 8, number(across[0])),
        Word(WIDTH - RIGHT, HEIGHT - 8, f"{number(across[1])} GB/s proved", "end"),
    )
    legend = tuple((looks[name], name) for name in found.palette.names if looks[name] in points)
    yield Panel(
        HEIGHT,
        (_frame(), Stroke("line dashed", line), *strokes),
        words,
        (("dashed", "median price of a TB/s"), *_named_once(legend)),
    )


def _phases(frames: Frames) -> Iterator[Panel]:
    found = phases.phases(frames)
    if found is None:
        return
    most = max(1e-3, float(found.seconds.sum(axis=1).max()))
    looks = {name: f"s{at}" for at, name in enumerate(phases.ORDER)}
    yield _stacked(found.slots, found.seconds, looks, most, "seconds")


def _uptime(frames: Frames) -> Iterator[Panel]:
    found = uptime.uptime(frames)
    if found is None:
        return
    at = _places(found.slots)
    miners = found.miners.head(MOST_MINERS)
    paths: dict[str, list[str]] = defaultdict(list)
    words = []
    for row, (_, miner) in enumerate(miners.iterrows()):
        y = TOP + row * MINER_ROW
        words.append(Word(LEFT - 6, y + MINER_ROW - 7, f"uid {miner['miner_uid']}", "end"))
        for look, begin, end in _runs(found.shares.iloc[row].to_numpy(dtype="float64"), at):
            paths[look].append(f"M{begin} {y}H{end}v{MINER_ROW - 4}H{begin}z")
    height = TOP + len(miners) * MINER_ROW + BOTTOM
    words += _times(found.slots, height)
    strokes = tuple(Stroke(look, "".join(paths[look])) for _, look, _ in SHADES if look in paths)
    yield Panel(height, strokes, tuple(words), tuple((look, name) for _, look, name in SHADES))


_DRAWN: Sequence[tuple[Callable[[Frames], Picture | Missing], Callable[[Frames], Iterator[Panel]]]] = (
    (network.picture, _network),
    (memory.picture, _memory),
    (emission.picture, _emission),
    (checks.picture, _checks),
    (scores.picture, _scores),
    (prices.picture, _prices),
    (phases.picture, _phases),
    (uptime.picture, _uptime),
)


# --- forms -----------------------------------------------------------------------------------------------


def _stacked(
    slots: Slots,
    heights: pd.DataFrame,
    looks: Mapping[str, str],
    most: float,
    unit: str,
    over: tuple[Stroke, ...] = (),
    legend: tuple[tuple[str, str], ...] = (),
) -> Panel:
    """Areas one on the other: the highest is drawn first, each one down to the floor."""
    tops = heights.cumsum(axis=1)
    areas = [
        Stroke(f"area {looks[str(name)]}", _steps(slots, tops[name], most, is_closed=True))
        for name in reversed(list(tops.columns))
    ]
    drawn = [str(name) for name in reversed(list(heights.columns)) if heights[name].max() > 0]
    names = tuple((looks[name], name) for name in drawn)
    words = (*_scale(most), Word(LEFT, TOP - 12, unit), *_times(slots, HEIGHT))
    return Panel(HEIGHT, (_frame(), *areas, *over), words, (*legend, *_named_once(names)))


def _bars(
    rows: Sequence[tuple[str, Sequence[tuple[float, str]]]], legend: tuple[tuple[str, str], ...]
) -> Panel:
    """Lying bars, each row's name above it; parts of the width."""
    whole = WIDTH - 2 * RIGHT
    strokes, words = [], []
    for at, (name, parts) in enumerate(rows):
        y = at * ROW + 18
        words.append(Word(RIGHT, y, name))
        thick = 16 / len(parts)
        for number_, (part, look) in enumerate(parts):
            length = round(whole * min(1.0, max(0.0, part)), 1)
            top = round(y + 6 + number_ * thick, 1)
            strokes.append(Stroke(look, f"M{RIGHT} {top}h{length}v{thick - 1:g}h-{length}z"))
    return Panel(len(rows) * ROW + 6, tuple(strokes), tuple(words), legend)


def _steps(slots: Slots, tops: pd.Series[float], most: float, *, is_closed: bool) -> str:
    """Blocks as one outline that falls to the floor in gaps."""
    path: list[str] = []
    before: float | None = None
    for (begin, end), top in zip(_places(slots), tops, strict=True):
        if before is None or begin > before:
            path.append(f"{_closing(is_closed=is_closed) if path else ''}M{begin} {FLOOR}")
        path.append(f"V{_up(top / most)}H{end}")
        before = end
    return "".join(path) + _closing(is_closed=is_closed)


def _closing(*, is_closed: bool) -> str:
    return f"V{FLOOR}" + ("z" if is_closed else "")


def _runs(
    shares: Iterable[float], places: Sequence[tuple[float, float]]
) -> Iterator[tuple[str, float, float]]:
    """Neighbours of one look as one block; what lists nothing is left out."""
    look, begin, end = "", 0.0, 0.0
    for share, (left, right) in zip(shares, places, strict=True):
        own = (
            ""
            if math.isnan(share)
            else next(name for most, name, _ in SHADES if share <= most or most == 1.0)
        )
        if own == look and left <= end:
            end = right
            continue
        if look:
            yield look, begin, end
        look, begin, end = own, left, right
    if look:
        yield look, begin, end


# --- places ----------------------------------------------------------------------------------------------


def _places(slots: Slots) -> list[tuple[float, float]]:
    """Where each slot begins and ends."""
    first, last = slots.span
    whole = max((last - first).total_seconds(), 1.0)
    begins = (slots.begin - first).dt.total_seconds() / whole
    ends = (slots.end - first).dt.total_seconds() / whole
    return [(_across(begin), _across(end)) for begin, end in zip(begins, ends, strict=True)]


def _across(part: float) -> float:
    return round(LEFT + part * (WIDTH - RIGHT - LEFT), 1)


def _up(part: float) -> float:
    return round(FLOOR - part * (FLOOR - TOP), 1)


def _log_axis(values: pd.Series[float]) -> tuple[float, float]:
    """From below the least to above the greatest, at least a factor of two wide."""
    low, high = float(values.min()) / 1.2, float(values.max()) * 1.2
    return (low, high) if high / low >= 2 else (low / 1.5, high * 1.5)


def _log_part(value: float, low: float, high: float) -> float:
    return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))


def _frame() -> Stroke:
    return Stroke("grid", f"M{LEFT} {FLOOR}H{WIDTH - RIGHT}M{LEFT} {TOP}H{WIDTH - RIGHT}")


def _block(look: str, x: float, width: float, part: float) -> Stroke:
    top = _up(part)
    return Stroke(look, f"M{round(x, 1)} {FLOOR}V{top}h{round(width, 1)}V{FLOOR}z")


def _scale(most: float) -> tuple[Word, ...]:
    return (Word(LEFT - 6, TOP + 5, number(most), "end"), Word(LEFT - 6, FLOOR, "0", "end"))


def _times(slots: Slots, height: float) -> tuple[Word, ...]:
    first, last = slots.span
    return (
        Word(LEFT, height - 8, f"{first:%m-%d %H:%M}"),
        Word(WIDTH - RIGHT, height - 8, f"{last:%m-%d %H:%M} UTC", "end"),
    )


def _looks(palette: Palette) -> dict[str, str]:
    return {name: f"s{min(at, SERIES)}" for at, name in enumerate(palette.names)}


def _named_once(names: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Series that share a look share a name, too."""
    found: dict[str, list[str]] = defaultdict(list)
    for look, name in names:
        found[look].append(label(name, 28))
    return tuple((look, some[0] if len(some) == 1 else "other models") for look, some in found.items())


def _tib(size: float) -> str:
    return f"{number(size / 2**40)} TiB" if size >= 2**40 else f"{number(size / 2**30)} GiB"
