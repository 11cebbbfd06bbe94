"""Who holds an open epoch: one run of one process, and how to tell that it is dead.

A run is dead when its machine was booted again, when its process is gone (or another process has its
number), or, when it runs on another machine and cannot be looked at, when it has been silent for long.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

SILENCE = timedelta(minutes=15)
"""A run that has written nothing for this long is dead wherever it is; every phase of an epoch is shorter."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one process; the token tells two runs of the same process apart."""

    token: str
    host: str
    boot_id: str
    pid: int
    started_ticks: int
    """When the process began, in clock ticks since boot; 0 where the system does not tell."""


def this_run() -> Run:
    """A new run of the process that calls."""
    pid = os.getpid()
    return Run(secrets.token_hex(8), socket.gethostname(), _boot_id(), pid, _started_ticks(pid) or 0)


def is_alive(run: Run, last_sign: datetime, now: datetime) -> bool:
    """Whether `run`, last heard of at `last_sign`, may still be at work at `now`."""
    if now - last_sign > SILENCE:
        return False
    if run.host != socket.gethostname():
        # A machine whose clock was far ahead when it died would hold its epoch until that moment.
        return last_sign - now <= SILENCE
    if run.boot_id != _boot_id():
        return False
    return _process_is_there(run.pid, run.started_ticks)


def is_dead_here(run: Run | None) -> bool:
    """Whether a run was one of this machine and its process is gone for sure."""
    if run is None or run.host != socket.gethostname():
        return False
    return run.boot_id != _boot_id() or not _process_is_there(run.pid, run.started_ticks)


def _process_is_there(pid: int, started_ticks: int) -> bool:
    if started_ticks:
        return _started_ticks(pid) == started_ticks
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started_ticks(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat; None when there is no such process, or it has ended and waits for its parent."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])
