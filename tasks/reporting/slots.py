"""Epochs as blocks of a time axis: each lasts until the next, a gap stays a gap, and a month has no more than a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

MAX_SLOTS = 288
LONE = pd.Timedelta(minutes=10)
"""How long the block of a single epoch is drawn."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Blocks of time in order."""

    begin: pd.Series[pd.Timestamp]
    end: pd.Series[pd.Timestamp]
    of_epoch: pd.Series[int]
    """Number of the slot by epoch."""

    @property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp]:
        """The first and the last moment."""
        return self.begin.iloc[0], self.end.iloc[-1]

    def mean(self, rows: pd.DataFrame, name: str, value: str) -> pd.DataFrame:
        """A row a slot and a column for each `name`: the mean of `value` over the slot's epochs, 0 where there is none."""
        table = rows.pivot_table(index="epoch", columns=name, values=value, aggfunc="sum", observed=True)
        whole = table.reindex(self.of_epoch.index).fillna(0.0)
        return whole.groupby(self.of_epoch).mean()


def slots(epochs: pd.DataFrame, at_most: int = MAX_SLOTS) -> Slots:
    """The slots of these epochs (epoch, started_at; at least one), several epochs in one when there are many."""
    ordered = epochs.sort_values("started_at", ignore_index=True)
    starts = ordered["started_at"]
    steps = starts.diff().dropna()
    usual = steps.median() if len(steps) else LONE
    per_slot = -(-len(ordered) // at_most)
    number = pd.Series(np.arange(len(ordered)) // per_slot, index=ordered["epoch"])
    end = starts.shift(-1).fillna(starts.iloc[-1] + usual)
    end = end.where(end - starts <= 1.5 * usual, starts + usual)
    grouped = pd.DataFrame({"begin": starts, "end": end}).groupby(number.to_numpy())
    return Slots(grouped["begin"].min(), grouped["end"].max(), number)


def outline(
    begin: npt.NDArray[np.float64], end: npt.NDArray[np.float64], heights: npt.NDArray[np.floating[Any]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.floating[Any]]]:
    """The steps of blocks as one line that falls to 0 in gaps; heights has a row a block."""
    x = np.column_stack([begin, begin, end, end]).ravel()
    zeros = np.zeros_like(heights)
    y = np.stack([zeros, heights, heights, zeros], axis=1).reshape(-1, *heights.shape[1:])
    touching = np.flatnonzero(np.isclose(end[:-1], begin[1:], rtol=0, atol=1e-9))
    drop = np.concatenate([4 * touching + 3, 4 * touching + 4])
    return np.delete(x, drop), np.delete(y, drop, axis=0)
