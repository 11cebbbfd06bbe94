"""Hostile machines among honest ones: what they cost the validator's process, and how long the honest ones wait for them."""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from deployments.localnet.fleet.profiles import HOSTILE as KINDS
from tests.bench.fleet import fleet
from tests.bench.measure import RUNS
from tests.bench.paths import FOLDER, REPOSITORY
from tests.bench.rig import rig
from tests.bench.rows import Group, Row
from tests.bench.visitor import Seen
from tests.tasks.edges.besieging import hostile_servers

HONEST, HOSTILE, MANY = 100, 100, 500
WAIT_S = 3.0
"""For which an honest machine works before it answers."""
NAMES = ("hostile_cpu", "hostile_among_500_honest")
EPOCHS = 3
"""Of 600 machines each, whose servers work on the same cores."""


def _cpu() -> Iterator[Row]:
    honest, seen = _raced()
    value, floor = (statistics.median(s.cpu_s for s in told) for told in (seen, honest))
    late_s = statistics.median(s.honest_s for s in seen) - statistics.median(s.honest_s for s in honest)
    note = (
        f"CPU of one process with {HONEST} honest and {HOSTILE} hostile servers, a session each of 12 s at most: "
        f"{min(s.honest_ok for s in seen)} honest were heard, the last {late_s:+.1f} s later than without the others, "
        f"{max(s.threads_left for s in seen)} threads were left; floor: the honest ones alone"
    )
    yield Row(NAMES[0], value, "s", floor, RUNS, note)


def _among() -> Iterator[Row]:
    """The same 500 machines, with and without 100 others that hang, drop, stall and lie."""
    arguments = (*fleet(MANY + HOSTILE).arguments, "--honest", str(MANY))
    kind = replace(fleet(MANY + HOSTILE), arguments=arguments)
    with rig(FOLDER / "bench-hostile", (MANY, MANY + HOSTILE), kind) as made:
        alone, mixed = made.validators.values()
        turns = [(alone.ask("epoch"), mixed.ask("epoch")) for _ in range(EPOCHS + 1)][1:]
    floor, value = (statistics.median(told.wall_s for told in series) for series in zip(*turns, strict=True))
    proved = [(one.proved, other.proved) for one, other in turns]
    note = (
        f"a warm epoch over {MANY} executors 100 ms away that work for 5 to 20 s and {HOSTILE} broken or hostile ones, of "
        f"{len(KINDS)} kinds; proved without and with those: {', '.join(f'{a} and {b}' for a, b in proved)}; floor: the {MANY} alone"
    )
    yield Row(NAMES[1], value, "s wall", floor, EPOCHS, note)


def _raced() -> tuple[list[Seen], list[Seen]]:
    """What the honest machines took alone, and with the hostile ones, in turns; the first turn is no run."""
    with ExitStack() as stack:
        servers = stack.enter_context(hostile_servers())
        hosts = stack.enter_context(_child("tests.bench.honest_hosts", str(HONEST), str(WAIT_S)))
        assert hosts.stdout is not None
        good = [(int(port), key) for port, key in json.loads(hosts.stdout.readline()).items()]
        ports = itertools.islice(itertools.cycle(servers.ports.values()), HOSTILE)
        bad = [(port, servers.host_key.hex()) for port in ports]
        visitor = stack.enter_context(_child("tests.bench.visitor"))
        _say(visitor, json.dumps({"honest": good, "hostile": bad}))
        turns = [(_asked(visitor, "honest"), _asked(visitor, "all")) for _ in range(RUNS + 1)][1:]
    return [alone for alone, _ in turns], [mixed for _, mixed in turns]


def _asked(visitor: subprocess.Popen[str], whom: str) -> Seen:
    _say(visitor, whom)
    assert visitor.stdout is not None
    line = visitor.stdout.readline()
    if not line:
        raise RuntimeError(f"the visitor ended in {whom!r} with status {visitor.wait()}")
    return Seen(**json.loads(line))


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


@contextlib.contextmanager
def _child(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program of ours; the end of its stdin ends it."""
    argv: Sequence[str] = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


GROUPS = (Group(NAMES[:1], _cpu), Group(NAMES[1:], _among))
