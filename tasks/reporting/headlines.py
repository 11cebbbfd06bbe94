"""The key figures of a period: a name, the number as a program wants it, and as a reader does."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from tasks.reporting.drawing import number, percent
from tasks.reporting.frames import Frames
from tasks.reporting.pictures import emission, leases, memory, phases, scores, steps

EPOCH = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Headline:
    """One key figure."""

    key: str
    """Stable, for programs."""
    name: str
    value: float | int | None
    """None when the archive does not tell."""
    shown: str


def headlines(frames: Frames) -> tuple[Headline, ...]:
    """In the order in which they are read."""
    newest = frames.models[frames.models["epoch"] == frames.models["epoch"].max()]
    found, size, times, spread = (
        emission.emission(frames),
        memory.memory(frames),
        phases.phases(frames),
        scores.scores(frames),
    )
    kind = found.kinds[0] if found and found.kinds else "weight"
    leased, taken = leases.leases(frames), steps.steps(frames)
    listed, passed = frames.miners["machines"].sum(), frames.miners["passed"].sum()
    return (
        _count("epochs", "epochs archived", len(frames.epochs)),
        _count("incidents", "incidents", sum(incidents(frames).values())),
        _count("miners", "miners with machines", frames.miners["miner_hotkey"].nunique()),
        _count("machines", "machines, newest epoch", newest["machines"].sum()),
        _count("cards", "cards, newest epoch", newest["cards"].sum()),
        _figure("proved_tib", "proved memory", size.proved_bytes.sum() / 2**40 if size else None, "TiB"),
        _share("passed_share", "passed of what was listed", passed / listed if listed else None),
        _share("false_zero_share", "zeroed between two passes", frames.zeros.rate),
        _figure(
            "median_score",
            "median score of the paid",
            spread.median if spread else None,
            spread.short_unit if spread else "",
        ),
        _figure("gini", f"Gini of {emission.NAMES[kind]}", found.gini(kind) if found else None, ""),
        _share("top_1_share", "largest miner's share", found.top(kind, 1) if found else None),
        _share("burned_share", "burned", found.burned[kind] if found else None),
        _figure("leased_usd_h", "leases, newest epoch", _hourly(leased), "USD/h"),
        _figure("epoch_s", "median epoch", times.median_s if times else None, "s"),
        *(
            _figure(f"{key}_p95_s", f"{key}, 95 % at most", _slow_end(taken, step), "s")
            for key, step in {"inspection": "inspection: whole", "walk": "proof: walk"}.items()
        ),
    )


def _slow_end(taken: steps.Steps | None, name: str) -> float | None:
    return float(taken.spread["p95"][name]) if taken and name in taken.spread.index else None


def _hourly(leased: leases.Leases | None) -> float:
    return float(leased.latest["usd_per_hour"]) if leased else 0.0


def incidents(frames: Frames) -> Counter[str]:
    """How often each of our own troubles came up."""
    return Counter(code for codes in frames.epochs["incidents"] for code in codes)


def weight_outcomes(frames: Frames) -> Counter[str]:
    """How setting the weights ended, by epochs."""
    return Counter(str(status) for status in frames.epochs["weight_status"].dropna())


def _count(key: str, name: str, value: float) -> Headline:
    return Headline(key, name, int(value), f"{int(value):,}")


def _figure(key: str, name: str, value: float | None, unit: str) -> Headline:
    known = _known(value)
    return Headline(key, name, known, "unknown" if known is None else f"{number(known)} {unit}".strip())


def _share(key: str, name: str, value: float | None) -> Headline:
    known = _known(value)
    return Headline(key, name, known, "unknown" if known is None else percent(known))


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
