"""Doing what the plan says: kills, locks and outages; each gives one line of what was hit."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deployments.localnet.chain.ledger import AWAY
from tests.chaos.plan import Fault, Kind
from tests.chaos.processes import MACHINES, Process, killable
from tests.chaos.system import System

GRAB_S = 30.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A fault that was done."""

    fault: Fault
    at: float
    """Unix time."""
    target: str
    """Role and process, or what was locked and for how long."""


class Faults:
    """Does faults to one system; what lasts goes on beside the next ones."""

    def __init__(self, system: System, extra: Callable[[], list[Process]] = list) -> None:
        self._system, self._extra = system, extra
        self._lasting: list[threading.Thread] = []
        self._over = threading.Event()

    def do(self, fault: Fault) -> Hit:
        """One of them, now."""
        return Hit(fault, time.time(), self._done(fault))

    def end(self) -> None:
        """Let everything that lasts be over."""
        self._over.set()
        for thread in self._lasting:
            thread.join()

    def _done(self, fault: Fault) -> str:
        layout = self._system.layout
        match fault.kind:
            case Kind.KILL:
                return self._kill(fault)
            case Kind.POWER:
                pid = self._system.owner
                _kill(pid, signal.SIGKILL)
                return f"everything, by subnet up ({pid})"
            case Kind.STATE_LOCKED:
                return self._last(
                    fault, lambda: self._lock(layout.folder / "validator.sqlite", fault.lasts_s)
                )
            case Kind.PREFECT_LOCKED:
                file = layout.folder / "prefect" / "prefect.db"
                return self._last(fault, lambda: self._lock(file, fault.lasts_s))
            case Kind.CHAIN_AWAY:
                return self._last(fault, lambda: self._outage(layout.chain, fault.lasts_s))
            case Kind.LINE_CUT:
                return self._last(fault, lambda: self._freeze(fault.lasts_s))

    def _kill(self, fault: Fault) -> str:
        by_role = killable([*self._system.processes(), *self._extra()])
        if not by_role:
            return "nobody: nothing lives"
        role = list(by_role)[int(fault.role * len(by_role))]
        prey = by_role[role][int(fault.one * len(by_role[role]))]
        _kill(prey.pid, signal.SIGKILL)
        return f"{role} ({prey.pid}, 1 of {len(by_role[role])})"

    def _last(self, fault: Fault, work: Callable[[], None]) -> str:
        thread = threading.Thread(target=work, name=fault.kind.value)
        thread.start()
        self._lasting.append(thread)
        return f"for {fault.lasts_s:.0f} s"

    def _lock(self, file: Path, seconds: float) -> None:
        if not file.exists():
            return
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(_opened(file)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            self._over.wait(seconds)
            connection.execute("ROLLBACK")

    def _outage(self, chain: Path, seconds: float) -> None:
        mark = chain.with_name(chain.name + AWAY)
        mark.touch()
        try:
            self._over.wait(seconds)
        finally:
            mark.unlink(missing_ok=True)

    def _freeze(self, seconds: float) -> None:
        frozen = [p.pid for p in self._system.processes() if p.role == MACHINES]
        for pid in frozen:
            _kill(pid, signal.SIGSTOP)
        try:
            self._over.wait(seconds)
        finally:
            for pid in frozen:
                _kill(pid, signal.SIGCONT)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=GRAB_S, isolation_level=None)
