"""The agent's log: who came to the door, and what came of it; SQLite, the newest hundred thousand rows.

    let in       a row for each executor, before the answer goes out
    refused      a row at once for whoever may enter; everybody else is counted by code, and written once a minute

What a stranger sends costs the log a number in memory: neither a row nor a write can be had for a knock.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from storage.sqlite import switch_to_wal
from tasks.errors import StoreAway

FILE = "agent.sqlite"
MAX_ROWS = 100_000
FLUSH_EVERY_S = 60.0
MAX_COUNTED = 256
"""Pairs of code and hotkey that are told apart between two writes; further hotkeys are counted together."""
GRANTED = "GRANTED"
_BUSY_S = 2.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS visits (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_s INTEGER NOT NULL, code TEXT NOT NULL, hotkey TEXT NOT NULL,
    executor_id TEXT NOT NULL, purpose TEXT NOT NULL, until_s INTEGER NOT NULL, reason TEXT NOT NULL, times INTEGER NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Visit:
    """One line of the log."""

    at_s: int
    """Unix seconds; of visits that were counted, when they were written down."""
    code: str
    """`GRANTED`, or the code of the refusal."""
    hotkey: str = ""
    """Empty where nobody proved who it was."""
    executor_id: str = ""
    purpose: str = ""
    until_s: int = 0
    """When what was granted ends, Unix seconds."""
    reason: str = ""
    times: int = 1

    @property
    def is_grant(self) -> bool:
        """Whether a key was let in."""
        return self.code == GRANTED


_COLUMNS = tuple(field.name for field in fields(Visit))


class VisitLog:
    """The log of one agent; safe for threads. StoreAway when its file can't be written."""

    def __init__(self, path: Path, *, max_rows: int = MAX_ROWS) -> None:
        self._path, self._max_rows = path, max_rows
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._counted: Counter[tuple[str, str]] = Counter()
        self._reasons: dict[tuple[str, str], str] = {}
        self._flushed_s: float | None = None

    def count(self, code: str, *, hotkey: str = "", reason: str = "", now_s: float) -> bool:
        """Count a refusal in memory; whether it is time to `flush`."""
        key = (code, hotkey)
        if key not in self._counted and len(self._counted) >= MAX_COUNTED:
            key = (code, "")
        self._counted[key] += 1
        self._reasons[key] = reason
        if self._flushed_s is None or now_s < self._flushed_s:
            self._flushed_s = now_s
        if now_s - self._flushed_s < FLUSH_EVERY_S:
            return False
        self._flushed_s = now_s
        return True

    def flush(self, now_s: float) -> None:
        """Write down what was counted; it blocks."""
        counted, self._counted = self._counted, Counter()
        reasons, self._reasons = self._reasons, {}
        if counted:
            self.write(
                Visit(int(now_s), code, hotkey, reason=reasons.get((code, hotkey), ""), times=times)
                for (code, hotkey), times in counted.items()
            )

    def write(self, visits: Iterable[Visit]) -> None:
        """Write these down, and forget what is older than the newest rows; it blocks."""
        rows = [astuple(visit) for visit in visits]
        marks = ", ".join("?" * len(_COLUMNS))
        with self._lock:
            try:
                connection = self._connection = self._connection or self._connect()
                with connection:
                    connection.executemany(
                        f"INSERT INTO visits ({', '.join(_COLUMNS)}) VALUES ({marks})",  # noqa: S608  our own names
                        rows,
                    )
                    connection.execute(
                        "DELETE FROM visits WHERE id <= (SELECT max(id) FROM visits) - ?", (self._max_rows,)
                    )
            except (sqlite3.Error, OSError) as error:
                self._drop_connection()
                raise StoreAway(f"the agent's log {self._path.name}: {error}") from None

    def close(self) -> None:
        """Release the file; what was counted and not flushed is lost."""
        with self._lock:
            self._drop_connection()

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, check_same_thread=False)
        try:
            switch_to_wal(connection, _BUSY_S)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@dataclass(frozen=True, slots=True)
class Sought:
    """Which visits to show; what is None or empty is not asked for."""

    hotkey: str = ""
    executor_id: str = ""
    code: str = ""
    only_refused: bool = False
    since_s: int = 0
    limit: int = 50


def read_visits(path: Path, sought: Sought) -> list[Visit]:
    """The newest visits of this kind, the newest first; none when there is no log yet. StoreAway when it can't be read."""
    if not path.is_file():
        return []
    conditions = {
        "hotkey = ?": sought.hotkey,
        "executor_id = ?": sought.executor_id,
        "code = ?": sought.code,
        "at_s >= ?": sought.since_s,
        "code <> ?": GRANTED if sought.only_refused else "",
    }
    asked = {condition: value for condition, value in conditions.items() if value}
    where = " AND ".join(asked) or "1"
    statement = f"SELECT {', '.join(_COLUMNS)} FROM visits WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608  our own names
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
        ) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'visits'").fetchone():
                return []
            return [Visit(*row) for row in connection.execute(statement, (*asked.values(), sought.limit))]
    except sqlite3.Error as error:
        raise StoreAway(f"the agent's log {path.name}: {error}") from None
