"""Visits to hostile servers, each in a process of its own, so that what it costs is known to the millisecond.

    python -m tests.tasks.inspection.besieged < [[name, executor without its host key, host key in hex, deadline_s], ...]
        -> one line of JSON for each: what came of the visit, and what it cost

Everything is imported and opened once; each visit is a fork of that. A fork is one thread, and what is more of them two
seconds after the visit was left behind by it.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn

import gevent

from storage.records import Executor, ExecutorRecord, HostReport
from tasks.epoch import EpochRun
from tasks.inspection.visit import visit
from tasks.policy import LOCALNET
from tests.tasks.inspection.runs import edges_in, run_over, station_of

AT_ONCE = 24
"""The servers are one process of many threads, and all of them share two cores with us."""
LEFT_S = 2.0
"""So long after a visit nothing may be left of it."""


@dataclass(frozen=True)
class Visited:
    """One visit, and everything that it cost."""

    name: str
    codes: list[str]
    got: list[str]
    """What each reason says that was got."""
    wall_s: float
    cpu_s: float
    """User and system, all threads, until nothing of it was left."""
    grown_mib: float
    """The most memory, over what there was before."""
    threads_left: int


@dataclass(frozen=True)
class Errand:
    """A visit to be made."""

    name: str
    executor: Executor
    deadline_s: float


def main() -> None:
    """Visit all that stdin names."""
    errands = [
        Errand(name, Executor(**given, host_key=bytes.fromhex(key)), deadline_s)
        for name, given, key, deadline_s in json.load(sys.stdin)
    ]
    policy = replace(LOCALNET, inspection=replace(LOCALNET.inspection, session_deadline_s=math.inf))
    with (
        tempfile.TemporaryDirectory() as folder,
        edges_in(Path(folder)) as edges,
        run_over(edges, policy=policy) as run,
    ):
        _visited(run, replace(errands[0].executor, port=1), 5.0)  # what is imported late is imported now
        assert threading.active_count() == 1, threading.enumerate()
        _go(run, errands)


def _go(run: EpochRun, errands: Sequence[Errand]) -> None:
    """A fork each, some at a time."""
    running = 0
    for errand in errands:
        if running == AT_ONCE:
            os.wait()
            running -= 1
        if os.fork() == 0:
            _be_forked(run, errand)
        running += 1
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _be_forked(run: EpochRun, errand: Errand) -> NoReturn:
    """In the fork: one visit, told on stdout in one write; never returns."""
    gevent.reinit()
    try:
        visited = _measured(run, errand)
        os.write(1, (json.dumps(asdict(visited)) + "\n").encode())
    except BaseException as error:  # noqa: BLE001  the fork must not go on as its parent
        sys.stderr.write(f"{errand.name}: {error!r}\n")
    finally:
        os._exit(0)


def _visited(run: EpochRun, executor: Executor, deadline_s: float) -> HostReport:
    station = station_of(run, executor)
    return visit(station, executor, ExecutorRecord(executor.key), station.clock() + deadline_s)


def _measured(run: EpochRun, errand: Errand) -> Visited:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark begins here
    before_kib, began, cpu_s = _memory_kib("VmRSS"), time.monotonic(), time.process_time()
    report = _visited(run, errand.executor, errand.deadline_s)
    wall_s = time.monotonic() - began
    until = time.monotonic() + LEFT_S
    while _threads() > 1 and time.monotonic() < until:
        time.sleep(0.02)
    return Visited(
        errand.name,
        [reason.code for reason in report.reasons],
        [reason.got for reason in report.reasons],
        wall_s,
        time.process_time() - cpu_s,
        (_memory_kib("VmHWM") - before_kib) / 1_024,
        _threads() - 1,
    )


def _threads() -> int:
    """As the kernel counts them."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208  the whole of it is its length


def _memory_kib(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith(field)).split()[1])


if __name__ == "__main__":
    main()
