"""How long each step of an inspection and of a proof takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tasks.reporting.drawing import BAD, GOOD, canvas, label, log_axis, number
from tasks.reporting.frames import Frames
from tasks.reporting.picture import Missing, Picture, table
from tasks.reporting.step_times import spread

TITLE = "Duration of the steps of inspection and proof"


@dataclass(frozen=True, slots=True)
class Steps:
    """Seconds a machine."""

    spread: pd.DataFrame
    """A row a step in the order of the epoch: machines, median, p95, longest, seconds (all together)."""


def steps(frames: Frames) -> Steps | None:
    """None when no machine was reached."""
    return None if frames.steps.empty else Steps(spread(frames.steps))


def picture(frames: Frames) -> Picture | Missing:
    """A line a step, from the median to what 95 % take at most."""
    found = steps(frames)
    if found is None:
        return Missing(TITLE, "No machine was reached in the archived epochs of these days.")
    rows = found.spread
    wide = str((rows["p95"] / rows["median"]).idxmax())
    costly = str(rows["seconds"].idxmax())
    sentence = (
        f"Of all steps {label(costly)} takes most time: half of the machines {number(rows['median'][costly])} s or less, 95 % "
        f"{number(rows['p95'][costly])} s or less. Machines differ most in {label(wide)} "
        f"({number(rows['median'][wide])} and {number(rows['p95'][wide])} s). The scale is logarithmic, figures are within 2.5 %."
    )
    lines = [
        (
            *(str(name), f"{int(row['machines']):,}"),
            *(number(row[column]) for column in ("median", "p95", "longest")),
            number(row["seconds"] / 3600),
        )
        for name, row in rows.iterrows()
    ]
    alt = "A line for each step of an inspection and a proof, from its median to its 95th percentile, on a logarithmic axis of seconds."
    columns = ("step", "times", "median, s", "95 % at most, s", "longest, s", "all together, h")
    return Picture(TITLE, sentence, alt, lambda: draw(found), table(columns, lines))


def draw(found: Steps) -> Figure:
    """One picture."""
    rows = found.spread
    figure = canvas(1.4 + 0.3 * len(rows))
    axes = figure.add_subplot()
    y = np.arange(len(rows))
    medians, p95 = (rows[name].to_numpy(dtype="float64") for name in ("median", "p95"))
    axes.hlines(y, medians, p95, color="#bbbbbb", linewidth=2.0)
    axes.plot(medians, y, "o", color=GOOD, markersize=7)
    axes.plot(p95, y, "s", color=BAD, markersize=6)
    axes.set_xscale("log")
    axes.set_xlim(medians.min() / 1.5, p95.max() * 1.5)
    log_axis(axes.xaxis)
    axes.set_yticks(y, [label(str(name), 32) for name in rows.index])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("seconds a machine")
    marks = (("o", GOOD, "half take at most"), ("s", BAD, "95 % take at most"))
    handles = [Line2D([], [], marker=m, color=c, linestyle="", label=name) for m, c, name in marks]
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure
