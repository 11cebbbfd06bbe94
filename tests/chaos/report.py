"""What a run of chaos did and found, as a table and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from tests.chaos.faults import Hit
from tests.chaos.found import Check

SHOWN = 10
"""Findings of one check that are printed; the report has all."""


@dataclass(frozen=True)
class Report:
    """One run."""

    seed: int
    seconds: float
    hits: Sequence[Hit]
    done: Mapping[str, int]
    """What was asked for meanwhile, and how often."""
    checks: Sequence[Check]

    @property
    def wrong(self) -> bool:
        """Whether something does not hold."""
        return any(one.wrong for one in self.checks)

    def show(self, out: TextIO) -> None:
        """The table, the findings, and how to repeat it."""
        console = Console(file=out, highlight=False)
        kinds = Counter(
            h.fault.kind.value if h.target[0:3] == "for" else f"{h.fault.kind.value} {_role(h)}"
            for h in self.hits
        )
        console.print("\nfaults: " + ", ".join(f"{n} x {k}" for k, n in sorted(kinds.items())), markup=False)
        console.print(
            "load:   " + ", ".join(f"{n} x {k}" for k, n in sorted(self.done.items())), markup=False
        )
        table = Table(box=box.SIMPLE_HEAD)
        for column in ("checked", "over", "found"):
            table.add_column(column)
        for one in self.checks:
            style = "red" if one.wrong else "green"
            table.add_row(
                one.name,
                f"{one.looked_at} {one.of_what}",
                f"{len(one.wrong)} wrong" if one.wrong else "holds",
                style=style,
            )
        console.print(table)
        for one in self.checks:
            for told in one.wrong[:SHOWN]:
                console.print(f"{one.name}: {told}", markup=False, soft_wrap=True)
            if len(one.wrong) > SHOWN:
                console.print(f"{one.name}: and {len(one.wrong) - SHOWN} more", markup=False)
        if self.wrong:
            console.print(f"\nrepeat it: make chaos MINUTES={self.seconds / 60:g} SEED={self.seed}")

    def text(self) -> str:
        """As JSON."""
        told = asdict(self) | {"holds": not self.wrong}
        return json.dumps(told, indent=1, default=str) + "\n"

    def write(self, file: Path) -> None:
        """The same into a file."""
        file.write_text(self.text(), encoding="utf-8")


def _role(hit: Hit) -> str:
    return hit.target.partition(" (")[0].partition(", by")[0]
