"""How long the command line takes to be there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import race
from tests.bench.rows import Group, Row, cpu_row

SUBNET = Path(sys.executable).with_name("subnet")


def _cli_import() -> Iterator[Row]:
    raced = race(lambda: _run(str(SUBNET), "--help"), lambda: _run(sys.executable, "-c", "pass"), runs=9)
    note = f"whole process `subnet --help`, {raced.ours.wall_s * 1_000:.0f} ms wall; floor: `python -c pass`"
    yield cpu_row("cli_import", raced, note)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


GROUPS = (Group(("cli_import",), _cli_import),)
