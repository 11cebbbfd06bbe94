"""Chaos: `python -m tests.chaos [--minutes 10] [--seed 1]`, as `make chaos` runs it (docs/chaos.md).

A whole local system in a folder of its own does epochs, leases and operations without a pause, and is killed, locked and cut off at
moments drawn from the seed. Then everything settles, and the invariants are checked. Exit codes: 0 all hold, 1 some do not, 2 it
can't be had here, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.plan import Kind

FOLDER = Path(".local/chaos")


def main(arguments: Sequence[str]) -> int:
    """All of it; the exit code."""
    asked = _parser().parse_args(arguments)
    kinds = tuple(asked.only) if asked.only else tuple(Kind)
    folder = (asked.folder or FOLDER / f"seed-{asked.seed}").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ.setdefault("NUMBA_CACHE_DIR", str(folder.parent / "numba"))
    from tests.chaos.run import Run

    began = time.monotonic()

    def say(text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:7.1f} s  {text}\n")
        sys.stdout.flush()

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    run = Run(folder, asked.seed, asked.minutes * 60, asked.renters, not asked.no_miner, kinds, say)
    try:
        report = run.live()
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        return 130
    report.show(sys.stdout)
    report.write(folder / "report.json")
    say(f"the whole of it is in {folder}/report.json")
    if asked.json:
        sys.stdout.write(report.text())
    return 1 if report.wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of faults; settling and checking come after (10)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="which faults: the same seed draws the same ones (1)"
    )
    parser.add_argument("--renters", type=int, default=3, help="who rent at once; 0: epochs alone (3)")
    parser.add_argument(
        "--only", type=Kind, action="append", choices=list(Kind), help="only this kind of fault; repeatable"
    )
    parser.add_argument("--folder", type=Path, help="its own folder, emptied first (.local/chaos/seed-SEED)")
    parser.add_argument("--no-miner", action="store_true", help="nobody brings a machine in and takes it out")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, too")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
