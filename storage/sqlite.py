"""What every SQLite file of ours needs when it is opened: the write-ahead log, switched on once, whoever else is opening."""

from __future__ import annotations

import time
from collections.abc import Callable
from sqlite3 import OperationalError
from typing import Protocol

_PAUSE_S = 0.01


class Executes(Protocol):
    """A connection or a cursor of sqlite3."""

    def execute(self, statement: str, /) -> object:
        """Run one statement."""


def switch_to_wal(connection: Executes, wait_s: float, pause: Callable[[float], None] = time.sleep) -> None:
    """Set the journal to WAL, waiting for another process that writes; OperationalError when it takes longer.

    SQLite does not call its busy handler here, unlike everywhere else: a new file that two processes open at the same
    moment would fail one of them at once (https://www.sqlite.org/rescode.html#busy).
    """
    end_s = time.monotonic() + wait_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end_s:
                raise
            pause(_PAUSE_S)
        else:
            return
