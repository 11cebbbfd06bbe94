"""Stacked blocks over time, with their names beside them in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tasks.reporting.drawing import days_of, label, time_axis
from tasks.reporting.slots import Slots, outline


def stack(
    axes: Axes, slots: Slots, heights: pd.DataFrame, colours: Mapping[str, str]
) -> list[Patch | Line2D]:
    """Draw the columns of `heights` (a row a slot) one on the other, the first below; the legend's handles, top first."""
    tops = heights.to_numpy(dtype="float64").cumsum(axis=1)
    x, y = outline(days_of(slots.begin), days_of(slots.end), tops)
    bottom: npt.NDArray[np.floating[Any]] = np.zeros(len(x))
    handles: list[Patch | Line2D] = []
    for number, name in enumerate(heights.columns):
        colour = colours[name]
        axes.fill_between(x, bottom, y[:, number], color=colour, linewidth=0.0)
        axes.plot(x, y[:, number], color="white", linewidth=0.4)
        handles.append(Patch(facecolor=colour, label=label(name, 28)))
        bottom = y[:, number]
    axes.set_ylim(bottom=0.0)
    time_axis(axes, *slots.span)
    return handles[::-1]


def beside(axes: Axes, handles: Sequence[Patch | Line2D]) -> None:
    """A legend to the right of the axes, where it covers nothing."""
    axes.legend(handles=list(handles), loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0.0)
