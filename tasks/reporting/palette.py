"""A colour and a mark for each of the largest models, the same in every picture; all others share one."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from tasks.reporting.drawing import REST, SERIES
from tasks.reporting.frames import Frames

MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
OTHERS = "other models"


@dataclass(frozen=True, slots=True)
class Palette:
    """The largest models by listed memory, the largest first."""

    models: tuple[str, ...]
    has_others: bool

    @property
    def names(self) -> tuple[str, ...]:
        """All series, `other models` last where there are any."""
        return (*self.models, OTHERS) if self.has_others else self.models

    def series_of(self, models: pd.Series[str]) -> pd.Series[str]:
        """The series that each of these models belongs to."""
        return models.where(models.isin(self.models), OTHERS)

    def colour(self, name: str) -> str:
        """Of a series."""
        return SERIES[self.models.index(name)] if name in self.models else REST

    def mark(self, name: str) -> str:
        """Of a series, for points."""
        return MARKS[self.models.index(name)] if name in self.models else "p"


def palette_of(frames: Frames) -> Palette:
    """The models of these days; of equal ones the first by name."""
    sizes = frames.models.groupby("model")["listed_bytes"].sum().sort_index()
    ordered = sizes.sort_values(ascending=False, kind="stable").index.tolist()
    return Palette(tuple(ordered[: len(SERIES)]), has_others=len(ordered) > len(SERIES))
