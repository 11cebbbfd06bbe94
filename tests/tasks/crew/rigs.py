"""A foreman over hands of all kinds and real machines: what the tests of the crew share."""

from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from storage.records import Executor
from tasks.crew import rosters
from tasks.crew.foreman import SILENT_S, Crew, Roster
from tasks.crew.opening import begin_of
from tasks.crew.orders import Visit
from tasks.crew.rosters import Processes
from tasks.epoch import EpochRun
from tasks.inspection.step import visit_of
from tasks.policy import LOCALNET

ENOUGH_BYTES = 1 << 30
PATIENT = replace(LOCALNET, inspection=replace(LOCALNET.inspection, session_deadline_s=800.0))
"""However busy the computer is, an honest machine is in time."""
HANDS_PROGRAM = """#!{python}
import sys, time
sys.path.insert(0, {repository!r})
from tasks.crew.rosters import serve_as_process
import tasks.inspection.visit as visiting

def check(facts, record, *rest, real=visiting.check_host):
    while record.executor_key.endswith("/hangs"):
        time.sleep(1.0)
    return real(facts, record, *rest)

visiting.check_host = check
serve_as_process(*map(int, sys.argv[3:6]))
"""
"""A hand like any other, but that judging one machine never ends, and lets nobody else go on meanwhile."""
WAITS_PROGRAM = """#!{python}
import os, sys, time
while not os.path.exists({go!r}):
    time.sleep(0.02)
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""
"""A machine that answers as soon as it may."""


class Office:
    """Answers as the validator would, without its keys."""

    def sign(self, lines: tuple[str, ...]) -> str:
        return "signed: " + " ".join(lines)

    def is_signed_by(self, text: str, hotkey: str) -> bool:
        return text.startswith("signed: ") and bool(hotkey)

    def is_ours_elsewhere(self, executor_key: str) -> bool:
        return executor_key.endswith("/ours")


@asynccontextmanager
async def crew_of(
    run: EpochRun, roster: Roster, hands: int, *, silent_s: float = SILENT_S
) -> AsyncIterator[Crew]:
    """So many hands, welcomed; they end with the block."""
    crew = Crew(roster, begin_of(run), Office(), run.progress.step, silent_s=silent_s)
    try:
        await crew.hire(hands)
        yield crew
    finally:
        await crew.close()


def visits_of(run: EpochRun, machines: Sequence[Executor]) -> list[Visit]:
    """To all of them, without a measurement."""
    return [replace(visit_of(run, machine, frozenset()), measures_bandwidth=False) for machine in machines]


def processes() -> Processes:
    return Processes(ENOUGH_BYTES)


def grips_of(crew: Crew) -> list[Any]:
    return [hand.recruit.grip for hand in crew._hands.values()]


def grip_of(crew: Crew, machine: Executor) -> Any:
    """How the hand is held that this machine was given to."""
    return crew._hands[crew._home[machine.key]].recruit.grip


def program(folder: Path, name: str, text: str) -> str:
    """The path of this program."""
    path = folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def waiting_python(folder: Path) -> tuple[str, Path]:
    """An interpreter that begins when a file is there, and the file."""
    go = folder / "go"
    return program(folder, "waits", WAITS_PROGRAM.format(python=sys.executable, go=str(go))), go


def hands_that_may_hang(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """From now on hands never come to an end with a machine that is called `hangs`."""
    text = HANDS_PROGRAM.format(python=sys.executable, repository=str(rosters.REPOSITORY))
    monkeypatch.setattr(rosters, "sys", SimpleNamespace(executable=program(folder, "hand", text)))


async def came_to(condition: Callable[[], object], limit_s: float = 900.0) -> bool:
    """Whether the condition came to hold within the limit."""
    until = asyncio.get_running_loop().time() + limit_s
    while not condition():
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(0.02)
    return True
