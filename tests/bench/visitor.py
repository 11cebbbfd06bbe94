"""A validator's process for the row of hostile servers: `python -m tests.bench.visitor`.

The first line on stdin are the machines, as JSON: {"honest": [[port, host key in hex], ...], "hostile": [...]}. Each line after it
is `honest` or `all`; its answer is a line of JSON with the fields of `Seen`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from storage.records import Executor
from tasks.edges.shell import EpochKey, Shell
from tasks.errors import SubnetError
from tasks.inspection.facts import COMMANDS
from tasks.inspection.talk import ask_facts, start_runner

SESSION_S = 12.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What going to them all took."""

    cpu_s: float
    honest_s: float
    """From the start until the last honest one was done."""
    wall_s: float
    honest_ok: int
    threads_left: int


def main() -> None:
    """Do what stdin asks for."""
    told = json.loads(sys.stdin.readline())
    honest, hostile = ([_executor(kind, *at) for at in told[kind]] for kind in ("honest", "hostile"))
    for line in sys.stdin:
        machines = honest if line.strip() == "honest" else _mixed(honest, hostile)
        print(json.dumps(asdict(_seen(_sessions(machines), machines))), flush=True)


def _executor(kind: str, port: int, key: str) -> Executor:
    """A machine whose name tells of which kind it is."""
    return Executor(
        f"{kind}-{port}",
        "5Miner",
        1,
        1,
        "127.0.0.1",
        port,
        "subnet",
        "/usr/bin/python3",
        bytes.fromhex(key),
        1.0,
    )


def _mixed(honest: Sequence[Executor], hostile: Sequence[Executor]) -> list[Executor]:
    """The hostile ones spread evenly among the others, as the turns of their miners spread them."""
    places = [(i / len(honest), e) for i, e in enumerate(honest)]
    places += [((i + 0.5) / len(hostile), e) for i, e in enumerate(hostile)]
    return [executor for _, executor in sorted(places, key=lambda place: place[0])]


def _seen(go: Callable[[Executor], bool], machines: Sequence[Executor]) -> Seen:
    """All at once, a thread each; the shell's pacer lets them begin."""
    before = threading.active_count()
    began, cpu_s, ends = time.monotonic(), time.process_time(), []

    def one(executor: Executor) -> bool:
        is_ok = go(executor)
        if executor.executor_id.startswith("honest"):
            ends.append(time.monotonic() - began)
        return is_ok and executor.executor_id.startswith("honest")

    with ThreadPoolExecutor(len(machines)) as pool:
        ok = sum(pool.map(one, machines))
    wall_s = time.monotonic() - began
    until = time.monotonic() + 2.0
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.02)
    return Seen(time.process_time() - cpu_s, max(ends), wall_s, ok, threading.active_count() - before)


def _sessions(machines: Sequence[Executor]) -> Callable[[Executor], bool]:
    """One command each: program, facts, and the end, all of them by one deadline."""
    shell, key, deadline = Shell(), EpochKey.generate(), time.monotonic() + len(machines) / 150 + SESSION_S

    def go(executor: Executor) -> bool:
        try:
            with shell.open(executor, key, deadline=deadline) as session:
                start_runner(session, deadline=deadline)
                return len(ask_facts(session, COMMANDS, deadline=deadline)) == len(COMMANDS)
        except SubnetError:
            return False

    return go


if __name__ == "__main__":
    main()
