"""What the checks find: how often each code came up, and so how many pass it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from storage.records import Severity
from tasks.reporting.drawing import BAD, REST, UNSURE, canvas, label, log_axis, percent
from tasks.reporting.frames import Frames
from tasks.reporting.picture import Missing, Picture, table
from tasks.reporting.reasons import SHADOW

TITLE = "Pass rate by check"
MAX_CODES = 24
_LOOKS = {
    Severity.FAIL.value: ("not paid", BAD, "o"),
    Severity.NO_VERDICT.value: ("no verdict", UNSURE, "s"),
    SHADOW: ("in shadow, without effect", "#009E73", "D"),
    Severity.WARN.value: ("warned, without effect", REST, "^"),
}


@dataclass(frozen=True, slots=True)
class Checks:
    """A row a stage and code, the most frequent first, those without effect last: stage, code, severity, machines, tried, share,
    has_effect.
    """

    rows: pd.DataFrame
    tried: dict[str, int]


def checks(frames: Frames) -> Checks | None:
    """None when nothing was checked. A code with several severities counts under that which most got."""
    if not any(frames.tried.values()):
        return None
    rows = frames.checks.sort_values(["machines", "severity"], ascending=[False, True], kind="stable")
    grouped = rows.groupby(["stage", "code"], as_index=False)
    whole = grouped.agg(severity=("severity", "first"), machines=("machines", "sum"))
    tried = whole["stage"].map(dict(frames.tried)).astype("float64")
    has_effect = ~whole["severity"].isin([SHADOW, Severity.WARN.value])
    whole = whole.assign(tried=tried, share=whole["machines"] / tried, has_effect=has_effect)
    ordered = whole.sort_values(
        ["has_effect", "share", "code"], ascending=[False, False, True], ignore_index=True
    )
    return Checks(ordered, dict(frames.tried))


def picture(frames: Frames) -> Picture | Missing:
    """A line of points, one a code."""
    found = checks(frames)
    if found is None:
        return Missing(TITLE, "Nothing was checked in the archived epochs of these days.")
    looked = f"{found.tried.get('inspection', 0):,} inspections and {found.tried.get('proof', 0):,} proofs"
    if found.rows.empty:
        return Missing(TITLE, f"All of {looked} passed every check without a word.")
    effective = found.rows[found.rows["has_effect"]]
    sentence = f"In {looked} "
    if effective.empty:
        sentence += "no check cost a machine its pay."
    else:
        worst = effective.iloc[0]
        sentence += (
            f"{worst['code']} cost most: {percent(1 - worst['share'])} pass it. Right means that more are stopped; the scale is "
            "logarithmic, and a check that stopped nobody is not shown."
        )
    columns = ("code", "stage", "effect", "got it", "of", "pass")
    rows = [
        (
            *(str(row["code"]), str(row["stage"]), _LOOKS.get(row["severity"], (str(row["severity"]),))[0]),
            *(f"{int(row['machines']):,}", f"{int(row['tried']):,}", _pass(row)),
        )
        for _, row in found.rows.iterrows()
    ]
    alt = "A point for each reason code: per cent of the checked machines that got it, on a logarithmic axis."
    return Picture(TITLE, sentence, alt, lambda: draw(found), table(columns, rows))


def _pass(row: pd.Series[Any]) -> str:
    return percent(1 - row["share"]) if row["has_effect"] else "no effect"


def draw(found: Checks) -> Figure:
    """The most frequent codes."""
    rows = found.rows.head(MAX_CODES)
    figure = canvas(1.5 + 0.27 * len(rows))
    axes = figure.add_subplot()
    y = np.arange(len(rows))
    shares = 100 * rows["share"].to_numpy(dtype="float64")
    lowest = 10.0 ** np.floor(np.log10(shares.min() * 0.8))
    axes.hlines(y, lowest, shares, color="#bbbbbb", linewidth=1.2)
    handles = []
    for severity, (name, colour, mark) in _LOOKS.items():
        chosen = (rows["severity"] == severity).to_numpy()
        if chosen.any():
            axes.plot(shares[chosen], y[chosen], mark, color=colour, markersize=7)
            handles.append(Line2D([], [], marker=mark, color=colour, linestyle="", label=name))
    axes.set_xscale("log")
    axes.set_xlim(lowest, 100)
    log_axis(axes.xaxis)
    axes.set_yticks(
        y, [f"{label(row['code'], 32)} ({row['stage']})" for _, row in rows.iterrows()], fontsize=9
    )
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("per cent of the checked that got the code (each counted once an epoch)")
    passes = axes.secondary_yaxis("right")
    passes.set_yticks(y, [_pass(row) for _, row in rows.iterrows()], fontsize=9)
    passes.set_ylabel("pass")
    passes.spines["right"].set_visible(False)
    passes.tick_params(length=0)
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure
