"""How long an epoch takes, and in which phase."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from tasks.reporting.drawing import SERIES, canvas, number
from tasks.reporting.frames import Frames
from tasks.reporting.picture import Missing, Picture, table
from tasks.reporting.slots import Slots, slots
from tasks.reporting.stacks import beside, stack

TITLE = "Duration of an epoch by phase"
ORDER = ("discovery", "inspection", "proof", "scoring", "weights", "archive")


@dataclass(frozen=True, slots=True)
class Phases:
    """Seconds, over the epochs that have phases."""

    slots: Slots
    seconds: pd.DataFrame
    """A row a slot, a column a phase in the order of the epoch."""
    spread: pd.DataFrame
    """A row a phase and one for the whole epoch: median, p95, longest."""
    broken_off: int
    """Phases that did not end."""

    @property
    def median_s(self) -> float:
        """Of whole epochs."""
        return float(self.spread["median"]["whole epoch"])


def phases(frames: Frames) -> Phases | None:
    """None when no epoch has a phase that ended; those of before schema 3 have none."""
    ended = frames.phases.dropna(subset=["seconds"])
    ended = ended[ended["name"].isin(ORDER)]
    epochs = frames.epochs[frames.epochs["epoch"].isin(ended["epoch"])]
    if epochs.empty:
        return None
    blocks = slots(epochs)
    present = [name for name in ORDER if name in set(ended["name"])]
    seconds = blocks.mean(ended, "name", "seconds")[present]
    whole = ended.groupby("epoch")["seconds"].sum()
    each = {name: ended.loc[ended["name"] == name, "seconds"] for name in present} | {"whole epoch": whole}
    spread = pd.DataFrame(
        {name: (v.median(), v.quantile(0.95), v.max()) for name, v in each.items()},
        index=["median", "p95", "longest"],
    ).T
    return Phases(blocks, seconds, spread, int(frames.phases["seconds"].isna().sum()))


def picture(frames: Frames) -> Picture | Missing:
    """Stacked areas."""
    found = phases(frames)
    if found is None:
        return Missing(
            TITLE, "No archived epoch of these days tells its phases; the history has them from schema 3 on."
        )
    parts = found.spread.drop(index="whole epoch")
    longest = parts["median"].idxmax()
    sentence = (
        f"Half of the epochs take {number(found.median_s)} s or less, 95 % take {number(float(found.spread['p95']['whole epoch']))} s or less; most of it is "
        f"{longest} ({number(float(parts['median'].max()))} s)."
    )
    if found.broken_off:
        sentence += f" {found.broken_off} phases did not end and are left out."
    rows = [
        (str(name), *(number(row[column]) for column in ("median", "p95", "longest")))
        for name, row in found.spread.iterrows()
    ]
    alt = "Stacked areas over time: seconds that each phase of an epoch took."
    columns = ("phase", "median, s", "95 % at most, s", "longest, s")
    return Picture(TITLE, sentence, alt, lambda: draw(found), table(columns, rows))


def draw(found: Phases) -> Figure:
    """One picture."""
    figure = canvas(3.6)
    axes = figure.add_subplot()
    colours = dict(zip(ORDER, SERIES, strict=False))
    handles = stack(axes, found.slots, found.seconds, colours)
    axes.set_ylim(0, max(1e-3, 1.08 * found.seconds.sum(axis=1).max()))
    axes.set_ylabel("seconds")
    beside(axes, handles)
    return figure
