"""Which leases may come in on a machine, and those that did: SQLite, beside the agent's log.

    a validator that may enter + a lease of one machine -> rentals wanted? -> known, or neither paused nor full -> noted

The agent can't see whether a lease is active: its name is the validator's word, kept here and in the log. What it holds is
how long a key lives, which machine it is for, how many leases are open there, and that no new one begins on a paused machine.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from storage.sqlite import switch_to_wal
from tasks.errors import StoreAway, SubnetError

LIFE_S = 1_000
"""Validators ask for 900 seconds, by clocks that may differ, and again while the lease lives."""
KNOWN_S = 86_400
"""For which a lease is known after its last key's end: who watches one asks again every quarter of an hour."""
KEPT = 2_000
"""Leases of one validator that are known; of more, those that came longest ago are forgotten."""
_BUSY_S = 2.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS leases (
    executor_id TEXT NOT NULL, hotkey TEXT NOT NULL, lease_id TEXT NOT NULL, came_s INTEGER NOT NULL, until_s INTEGER NOT NULL,
    PRIMARY KEY (executor_id, hotkey, lease_id)
)
"""


class LeaseRefused(SubnetError):
    """No way in for this lease: a code, and what would have to be otherwise."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


@dataclass(frozen=True, slots=True)
class Coming:
    """A validator that wants a key let in for a lease of one machine."""

    executor_id: str
    hotkey: str
    lease_id: str
    until_s: int
    """When its key ends, Unix seconds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the machine's owner allows."""

    rentals: bool
    is_paused: bool
    max_leases: int


class LeaseBook:
    """The leases of one agent; safe for threads. StoreAway when its file can't be written."""

    def __init__(self, path: Path | None, *, kept: int = KEPT) -> None:
        """`path`: none for an agent without a folder, which forgets them at its end."""
        self._path, self._kept = path, kept
        self._lock = threading.Lock()
        self._memory = None if path else _opened(None)

    def admit(self, coming: Coming, terms: Terms, *, now_s: int) -> None:
        """Note that it comes; LeaseRefused when it may not. It blocks.

        A lease that was here within a day comes again though the machine is paused: it has to be watched, and ended.
        """
        if not terms.rentals:
            raise LeaseRefused("NO_RENTALS", "this agent lets no lease in (rentals = false)")
        try:
            with self._lock:
                if self._memory is not None:
                    _admit(self._memory, coming, terms, now_s, self._kept)
                    return
                with closing(_opened(self._path)) as connection:
                    _admit(connection, coming, terms, now_s, self._kept)
        except (sqlite3.Error, OSError) as error:
            raise StoreAway(f"the agent's leases: {error}") from None

    def close(self) -> None:
        """Forget what is in memory only."""
        if self._memory is not None:
            self._memory.close()


def _opened(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(
        path or ":memory:", timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        if path is not None:
            switch_to_wal(connection, _BUSY_S)
            connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _admit(connection: sqlite3.Connection, coming: Coming, terms: Terms, now_s: int, kept: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        _check(connection, coming, terms, now_s)
        _note(connection, coming, now_s)
        _forget(connection, coming.hotkey, kept)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, coming: Coming, terms: Terms, now_s: int) -> None:
    known = connection.execute(
        "SELECT until_s FROM leases WHERE executor_id = ? AND hotkey = ? AND lease_id = ?",
        (coming.executor_id, coming.hotkey, coming.lease_id),
    ).fetchone()
    if known is not None and known[0] > now_s:
        return
    if terms.is_paused and (known is None or known[0] + KNOWN_S < now_s):
        raise LeaseRefused("PAUSED", f"{coming.executor_id} takes no new lease")
    (count,) = connection.execute(
        "SELECT count(*) FROM leases WHERE executor_id = ? AND until_s > ?", (coming.executor_id, now_s)
    ).fetchone()
    if count >= terms.max_leases:
        raise LeaseRefused("TOO_MANY_LEASES", f"{count} leases are open on {coming.executor_id}")


def _note(connection: sqlite3.Connection, coming: Coming, now_s: int) -> None:
    connection.execute(
        "INSERT INTO leases VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET came_s = excluded.came_s, until_s = max(until_s, excluded.until_s)",
        (coming.executor_id, coming.hotkey, coming.lease_id, now_s, coming.until_s),
    )


def _forget(connection: sqlite3.Connection, hotkey: str, kept: int) -> None:
    connection.execute(
        "DELETE FROM leases WHERE rowid IN (SELECT rowid FROM leases WHERE hotkey = ?"
        " ORDER BY came_s DESC LIMIT -1 OFFSET ?)",
        (hotkey, kept),
    )
