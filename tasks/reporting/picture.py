"""What every picture of the report is: a title, one sentence that says what to see, the drawing, and the same as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

MAX_ROWS = 40
"""Of the table below a picture."""


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers as text, ready to be shown; the first column is on the left, the others on the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0
    """Rows beyond MAX_ROWS."""


def table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    """The first rows of these."""
    return Table(columns, tuple(rows[:MAX_ROWS]), max(0, len(rows) - MAX_ROWS))


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture, not drawn yet."""

    title: str
    sentence: str
    """What to see in it; foreign text in it is plain text still."""
    alt: str
    """What it shows, for those who don't see it."""
    draw: Callable[[], Figure]
    table: Table


@dataclass(frozen=True, slots=True)
class Missing:
    """A picture that there are no data for."""

    title: str
    why: str
