"""What was done of bringing machines in, on the miner's own computer: SQLite beside what the agent knows.

    known(machine)                  its name for validators, kept from the first time on
    begin -> end                    a step of a machine (or of this computer: ""), when, how long, what it came to
    holds(machine, step, mark)      whether a step was done with exactly this mark: then it need not be done again

No record is believed where the world itself can be asked: only a proof and a verdict are not repeated for one.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.sqlite import switch_to_wal
from tasks.errors import StoreAway

FILE = "onboarding.sqlite"
_BUSY_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS machines (machine TEXT PRIMARY KEY, executor_id TEXT NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS steps (
    machine TEXT NOT NULL, step TEXT NOT NULL, state TEXT NOT NULL, mark TEXT NOT NULL, at_s REAL NOT NULL,
    seconds REAL NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (machine, step)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """The last time that a step was at work."""

    machine: str
    step: str
    state: str
    """As `StepState` spells it."""
    mark: str
    """Of what it was done with."""
    at_s: float
    """Unix seconds of its begin; where it is done with the same mark again, of the first one."""
    seconds: float
    detail: str


class Records:
    """The records of one agent's folder; safe for threads. StoreAway when the file can't be used."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def executor_id(self, machine: str) -> str | None:
        """The machine's name for validators, if it has one."""
        rows = self._run("SELECT executor_id FROM machines WHERE machine = ?", machine)
        return str(rows[0][0]) if rows else None

    def machine_of(self, executor_id: str) -> str | None:
        """The machine that has this name."""
        rows = self._run("SELECT machine FROM machines WHERE executor_id = ?", executor_id)
        return str(rows[0][0]) if rows else None

    def know(self, machine: str, executor_id: str) -> None:
        """Keep its name; StoreAway when it is another machine's."""
        self._run(
            "INSERT INTO machines VALUES (?, ?) ON CONFLICT (machine) DO UPDATE SET executor_id = excluded.executor_id",
            machine,
            executor_id,
        )

    def unname(self, machine: str) -> None:
        """It goes by another name of its own here from now on."""
        self._run("DELETE FROM machines WHERE machine = ?", machine)

    def begin(self, machine: str, step: str, mark: str, now_s: float) -> None:
        """The step begins."""
        values = (machine, step, "begun", mark, now_s, 0.0, "")
        self._run("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?)", *values)

    def end(self, machine: str, step: str, state: str, seconds: float, detail: str) -> None:
        """The step has ended."""
        self._run(
            "UPDATE steps SET state = ?, seconds = ?, detail = ? WHERE machine = ? AND step = ?",
            state, seconds, detail, machine, step,
        )  # fmt: skip

    def get(self, machine: str, step: str) -> StepRecord | None:
        """The step's record."""
        rows = self._run("SELECT * FROM steps WHERE machine = ? AND step = ?", machine, step)
        return StepRecord(*rows[0]) if rows else None

    def holds(self, machine: str, step: str, mark: str) -> StepRecord | None:
        """The record of a step that was done with this mark."""
        found = self.get(machine, step)
        return found if found is not None and found.state == "done" and found.mark == mark else None

    def all_of(self, machine: str) -> list[StepRecord]:
        """All records of a machine, in the order of their begins."""
        return [
            StepRecord(*row)
            for row in self._run("SELECT * FROM steps WHERE machine = ? ORDER BY at_s", machine)
        ]

    def drop(self, machine: str, step: str) -> None:
        """The step was never done."""
        self._run("DELETE FROM steps WHERE machine = ? AND step = ?", machine, step)

    def forget(self, machine: str) -> None:
        """Nothing was ever done with this machine."""
        self._run("DELETE FROM steps WHERE machine = ?", machine)
        self._run("DELETE FROM machines WHERE machine = ?", machine)

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._drop()

    def _run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            if statement.startswith("SELECT") and not self.path.is_file():
                return []  # whoever only looks makes no file
            try:
                connection = self._connection = self._connection or self._connect()
                with connection:
                    return connection.execute(statement, values).fetchall()
            except (sqlite3.Error, OSError) as error:
                self._drop()
                raise StoreAway(f"the records {self.path}: {error}") from None

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, check_same_thread=False)
        try:
            switch_to_wal(connection, _BUSY_S)
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
