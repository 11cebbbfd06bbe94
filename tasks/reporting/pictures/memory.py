"""How much memory the network has: listed against proved, by model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tasks.reporting.drawing import GOOD, REST, canvas, label, number, percent
from tasks.reporting.frames import Frames
from tasks.reporting.picture import Missing, Picture, table

TITLE = "Memory by model"
MAX_BARS = 16
GIB, TIB = 2.0**30, 2.0**40


@dataclass(frozen=True, slots=True)
class Memory:
    """Means over the period's epochs, by model, the largest first."""

    listed_bytes: pd.Series[float]
    proved_bytes: pd.Series[float]
    memory_scale: int
    """By how much less is proved than listed because the cards are simulated; the bytes here count in full."""


def memory(frames: Frames) -> Memory | None:
    """None when no machine lists any."""
    sums = frames.models.groupby("model")[["listed_bytes", "proved_bytes"]].sum()
    ordered = sums[sums["listed_bytes"] > 0].sort_values("listed_bytes", ascending=False, kind="stable")
    if ordered.empty:
        return None
    means = ordered / frames.models["epoch"].nunique()
    return Memory(means["listed_bytes"], means["proved_bytes"], int(frames.epochs["memory_scale"].max()))


def picture(frames: Frames) -> Picture | Missing:
    """Bars side by side."""
    found = memory(frames)
    if found is None:
        return Missing(TITLE, "No machine of these days lists any memory.")
    listed, proved = found.listed_bytes.sum(), found.proved_bytes.sum()
    sentence = f"{percent(proved / listed)} of {_amount(listed)} listed memory was proved to be there."
    if found.memory_scale > 1:
        sentence += (
            f" Cards are simulated: one byte in {found.memory_scale:,} was proved, the bars count it in full."
        )
    rows = [
        (str(model), _amount(listed), _amount(proved), percent(proved / listed))
        for (model, listed), proved in zip(found.listed_bytes.items(), found.proved_bytes, strict=True)
    ]
    columns = ("model", "listed", "proved", "share")
    alt = "Bars by model: memory that the machines list and memory that they proved, mean of the epochs."
    return Picture(TITLE, sentence, alt, lambda: draw(found), table(columns, rows))


def draw(found: Memory) -> Figure:
    """The largest models, the rest together."""
    unit, name = (TIB, "TiB") if found.listed_bytes.max() >= TIB else (GIB, "GiB")
    bars = pd.DataFrame({"listed": found.listed_bytes, "proved": found.proved_bytes}) / unit
    if len(bars) > MAX_BARS:
        rest = bars.iloc[MAX_BARS - 1 :].sum()
        bars = bars.iloc[: MAX_BARS - 1]
        bars.loc[f"{len(found.listed_bytes) - len(bars)} other models"] = rest
    figure = canvas(1.3 + 0.38 * len(bars))
    axes = figure.add_subplot()
    y = np.arange(len(bars))
    axes.barh(y - 0.19, bars["listed"], 0.36, color=REST, label="listed")
    axes.barh(y + 0.19, bars["proved"], 0.36, color=GOOD, label="proved")
    shares = bars["proved"] / bars["listed"]
    for at, (widest, share) in enumerate(zip(bars.max(axis=1), shares, strict=True)):
        axes.annotate(
            percent(share), (widest, at), (5, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_yticks(y, [label(str(model)) for model in bars.index])
    axes.invert_yaxis()
    axes.margins(x=0.09, y=0.02)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"memory, {name} (mean of the epochs); beside the bars: share proved")
    axes.legend(loc="lower right")
    return figure


def _amount(size: float) -> str:
    return f"{number(size / TIB)} TiB" if size >= TIB else f"{number(size / GIB)} GiB"
