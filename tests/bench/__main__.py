"""The bench: `python -m tests.bench [--only NAME]`.

Every row is measured beside a floor, the least work that anybody would have to do for the same result, in the same
run and in turns. Exit codes: 0 done, 1 a row could not be measured, 2 no such row, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live

from tests.bench.paths import FOLDER
from tests.bench.rows import Group, Row, shown, write

EXAMPLES = """\
examples:
  python -m tests.bench                             every row, a quarter of an hour on two cores
  python -m tests.bench --only verify_card_80gb     one row
  python -m tests.bench --list                      the names of all rows
"""


def main(arguments: Sequence[str]) -> int:
    """Measure, show, write `bench.json`; the exit code."""
    asked = _parser().parse_args(arguments)
    os.environ.setdefault("NUMBA_CACHE_DIR", str(FOLDER / "numba"))
    from tests.bench.groups import GROUPS

    names = [name for group in GROUPS for name in group.names]
    if asked.list:
        sys.stdout.write("\n".join(names) + "\n")
        return 0
    if asked.only is not None and asked.only not in names:
        sys.stderr.write(f"Error: --only is {asked.only!r}, expected one of {', '.join(names)}\n")
        return 2
    try:
        return _bench([g for g in GROUPS if asked.only in {None, *g.names}], asked.only)
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        return 130


def _bench(groups: Sequence[Group], only: str | None) -> int:
    rows: list[Row] = []
    failures: list[str] = []
    notices = Console(stderr=True)
    with Live(shown(rows), console=Console(), auto_refresh=False) as live:
        for group in groups:
            notices.print(f"measuring {only or ', '.join(group.names)}", style="dim")
            try:
                for row in group.measure():
                    if only in {None, row.name}:
                        rows.append(row)
                        live.update(shown(rows), refresh=True)
            except Exception as error:  # noqa: BLE001  the top: the other rows are measured, and the exit code says it
                failures.append(f"{', '.join(group.names)}: {type(error).__name__}: {error}")
            write(rows, FOLDER / "bench.json")
    for failure in failures:
        notices.print(f"Error: {failure}", style="red", markup=False)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure speed and memory against floors; writes .local/bench.json.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="NAME", help="measure this row alone")
    parser.add_argument("--list", action="store_true", help="list the names of all rows")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
