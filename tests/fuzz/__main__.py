"""The fuzzer: `python -m tests.fuzz [--seconds 60] [--seed N] [--only NAME] [--replay FILE]`.

Readers of what strangers send, and the protocols with them, are given inputs that are made from true ones by chance. What ends
otherwise than with an error of ours, or costs more than an input may (CPU, memory, time, a thread that is left), is a finding:
its input is kept in .local/fuzz, with the command that shows it again. Exit codes: 0 nothing found, 1 findings, 2 a mistake in
what was asked, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.running import FOLDER, Run, replay
from tests.fuzz.supervising import supervised
from tests.fuzz.targets import TARGETS, named

AT_ONCE = 2
"""Processes."""


def main(arguments: Sequence[str]) -> int:
    """Fuzz or replay; the exit code."""
    asked = _parser().parse_args(arguments)
    if asked.replay is not None:
        return _replay(asked.replay)
    names = list(TARGETS) if asked.only is None else [asked.only]
    if unknown := [name for name in names if name not in TARGETS]:
        return _mistake(f"--only is {unknown[0]!r}, expected one of {', '.join(TARGETS)}")
    seed = secrets.randbelow(1 << 32) if asked.seed is None else asked.seed
    each_s = asked.seconds * min(AT_ONCE, len(names)) / len(names)
    print(f"fuzzing {', '.join(names)} for {asked.seconds:g} s with seed {seed}", flush=True)

    def fuzzed(name: str) -> Run:
        run = supervised(TARGETS[name], seed, each_s, FOLDER)
        print(run.told(), flush=True)
        return run

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            runs = list(pool.map(fuzzed, names))
    except KeyboardInterrupt:
        return 130
    findings = [finding for run in runs for finding in run.findings]
    for finding in findings:
        print(finding.told())
    print(f"{sum(run.inputs for run in runs)} inputs, {len(findings)} findings; the same again: SEED={seed}")
    return 1 if findings else 0


def _replay(path: Path) -> int:
    try:
        target, data = named(path.name.split("-")[0]), path.read_bytes()
    except (KeyError, OSError):
        return _mistake(f"--replay is {str(path)!r}, expected a file that the fuzzer has kept")
    found = replay(target, data, path.parent)
    print("nothing is found any more" if found is None else found.told())
    return 0 if found is None else 1


def _mistake(text: str) -> int:
    sys.stderr.write(f"Error: {text}\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Fuzz the readers of what strangers send, for a bounded time.",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        help="for all targets together, what they take to start not counted (60)",
    )
    parser.add_argument(
        "--seed", type=int, help="makes the same inputs again; by chance when it is not given"
    )
    parser.add_argument("--only", metavar="NAME", help=f"one of {', '.join(TARGETS)}")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="try one input that was kept")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
