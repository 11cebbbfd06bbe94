"""A row of the bench: as a record, as a line of a table, and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tests.bench.measure import Race

MS = 1_000.0


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement; `floor` is the least work for the same result, measured in the same run."""

    name: str
    value: float
    unit: str
    floor: float | None
    """None where the value is itself a share or a count."""
    runs: int
    note: str

    @property
    def ratio(self) -> float | None:
        """Value over floor."""
        return self.value / self.floor if self.floor else None


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are measured together."""

    names: tuple[str, ...]
    measure: Callable[[], Iterable[Row]]


def cpu_row(name: str, raced: Race, note: str, count: int = 1) -> Row:
    """Milliseconds of CPU for one of `count` things that were done at once."""
    return Row(name, raced.ours.cpu_s * MS / count, "ms", raced.floor.cpu_s * MS / count, raced.runs, note)


def shown(rows: Sequence[Row]) -> RenderableType:
    """The rows for a terminal: a table, and what each means below it."""
    table = Table(box=box.SIMPLE_HEAD, title="Bench", title_justify="left")
    for column in ("name", "unit"):
        table.add_column(column, no_wrap=True)
    for column in ("value", "floor", "ratio", "runs"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        figures = (_figure(row.value), _figure(row.floor), _figure(row.ratio), str(row.runs))
        table.add_row(row.name, row.unit, *figures)
    notes = [Text.assemble((row.name, "bold"), f": {row.note}") for row in rows]
    return Lines(table, *notes)


def write(rows: Sequence[Row], path: Path) -> None:
    """The rows as a list of objects, the whole file or the old one."""
    listed = [asdict(row) | {"ratio": row.ratio} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
