"""How the scores are spread: machines by their mean score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from tasks.reporting.drawing import BAD, GOOD, INK, canvas, log_axis, number, percent, whole_numbers
from tasks.reporting.frames import Frames
from tasks.reporting.picture import Missing, Picture, table

TITLE = "Distribution of scores"
USD = "USD an hour"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean scores of the machines over the period."""

    paid: npt.NDArray[np.float64]
    """Ascending, all above 0."""
    unpaid: int
    """Machines that scored 0 in every epoch."""
    unit: str
    """Of the formula."""

    @property
    def short_unit(self) -> str:
        """For a key figure."""
        return "USD/h" if self.unit == USD else ""

    @property
    def median(self) -> float:
        """Of the paid."""
        return float(np.median(self.paid)) if len(self.paid) else float("nan")


def scores(frames: Frames) -> Scores | None:
    """None when no machine was scored, or by formulas that have no unit in common."""
    units = {_unit(formula) for formula in frames.epochs["formula"].dropna()}
    if len(units) != 1:
        return None
    means = frames.machines["score"].to_numpy(dtype="float64")
    means = means[np.isfinite(means)]
    if not len(means):
        return None
    return Scores(np.sort(means[means > 0]), int((means <= 0).sum()), units.pop())


def _unit(formula: str) -> str:
    return USD if formula == "default" else "points of the formula"


def edges_of(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Edges of the bars: ten to a decade, on a grid that days share, at least one bar and at most 120."""
    low = np.floor(10 * np.log10(values.min()))
    high = max(np.ceil(10 * np.log10(values.max())), low + 1)
    return np.asarray(10 ** (np.linspace(low, high, int(min(high - low, 120)) + 1) / 10))


def picture(frames: Frames) -> Picture | Missing:
    """A histogram."""
    found = scores(frames)
    if found is None:
        several = frames.epochs["formula"].nunique() > 1
        why = "These days' scores are of formulas without a common unit: make a report of fewer days."
        return Missing(
            TITLE, why if several else "No machine was scored in the archived epochs of these days."
        )
    count = len(found.paid) + found.unpaid
    sentence = (
        f"{found.unpaid:,} of {count:,} machines ({percent(found.unpaid / count)}) scored 0 all the time."
    )
    if len(found.paid):
        sentence += f" Half of the paid score {number(found.median)} or more; the best has {number(found.paid[-1])} ({found.unit})."
    rows = [("scored 0 in every epoch", f"{found.unpaid:,} machines")]
    if len(found.paid):
        values = np.quantile(found.paid, QUANTILES)
        rows += [
            (f"{100 * q:.0f} % of the paid score at most", number(v))
            for q, v in zip(QUANTILES, values, strict=True)
        ]
        rows.append(("the best", number(found.paid[-1])))
    alt = "Histogram: number of machines by mean score, logarithmic; machines that score 0 stand apart."
    return Picture(TITLE, sentence, alt, lambda: draw(found), table(("", f"mean score, {found.unit}"), rows))


def draw(found: Scores) -> Figure:
    """Zero has a place of its own beside the logarithmic axis."""
    figure = canvas(3.6)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 11])
    left.bar([0], [found.unpaid], 0.7, color=BAD)
    left.set_xticks([0], ["0"])
    left.set_xlim(-0.8, 0.8)
    left.grid(visible=False, axis="x")
    left.set_xlabel("not paid")
    left.set_ylabel("machines")
    if len(found.paid):
        edges = edges_of(found.paid)
        right.hist(found.paid, bins=list(edges), color=GOOD, edgecolor="white", linewidth=0.5)
        right.set_xscale("log")
        right.set_xlim(edges[0], edges[-1])
        log_axis(right.xaxis)
        right.axvline(found.median, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        right.set_title(f"dashed: median of the paid, {number(found.median)}")
    else:
        right.set_xticks([])
        right.set_title("no machine was paid")
    right.set_xlabel(f"mean score of a machine, {found.unit}")
    whole_numbers(left.yaxis)
    return figure
