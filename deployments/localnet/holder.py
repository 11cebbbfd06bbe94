"""Who keeps a local system up in a folder: a lock that dies with its process, and what it wrote down beside it."""

from __future__ import annotations

import fcntl
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from deployments.localnet.layout import Layout


@dataclass(frozen=True, slots=True)
class Holder:
    """Who runs the stack, and where."""

    pid: int
    prefect_url: str
    children: tuple[int, ...]
    """Process groups."""
    is_kept: bool = False
    """Whether it stays up until it is told to stop, so that other commands may work on it."""
    is_ready: bool = False
    """Whether everything answers."""


def holder_of(layout: Layout) -> Holder | None:
    """Who runs a stack in this folder, as it was written down; None when nobody has."""
    try:
        told = json.loads((layout.run / "stack.json").read_text(encoding="utf-8"))
        return Holder(
            pid=int(told["pid"]),
            prefect_url=str(told["prefect_url"]),
            children=tuple(int(c) for c in told["children"]),
            is_kept=told["is_kept"] is True,
            is_ready=told["is_ready"] is True,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_running(layout: Layout) -> bool:
    """Whether some process holds the stack's lock."""
    with suppress(FileNotFoundError), (layout.run / "stack.lock").open("a+") as lock:
        return not take(lock)
    return False


def take(lock: IO[str]) -> bool:
    """Take the lock; False when another process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
