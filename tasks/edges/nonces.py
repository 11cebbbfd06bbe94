"""Nonces that were used: one SQLite file shared by all processes behind one door, so that nothing is replayed."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

from storage.sqlite import switch_to_wal
from tasks.errors import SettingError, StoreAway

MIN_RETENTION_S = 12.0
"""Age and skew that a request may have (10 s and 2 s): a shorter memory would let a replay through."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS nonces (
    nonce_ns INTEGER NOT NULL, sender TEXT NOT NULL, receiver TEXT NOT NULL,
    PRIMARY KEY (nonce_ns, sender, receiver)
) WITHOUT ROWID
"""
_MAX_NONCE = 2**63 - 1


class NonceStore:
    """Remembers (sender, receiver, nonce) for at least `retention_s`; safe for threads, forks and processes."""

    def __init__(self, path: Path, *, retention_s: float = 60.0, busy_s: float = 2.0) -> None:
        if retention_s < MIN_RETENTION_S:
            raise SettingError("nonce retention", f"{retention_s:g} s", f"at least {MIN_RETENTION_S:g} s")
        self._path, self._retention_ns, self._busy_s = path, int(retention_s * 1e9), busy_s
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._owner_pid = 0
        self._pruned_ns = 0

    def remember(self, *, sender: str, receiver: str, nonce_ns: int, now_ns: int) -> bool:
        """Whether this is its first use; False is a replay. StoreAway when the file does not answer."""
        if not 0 <= nonce_ns <= _MAX_NONCE:
            return False
        with self._lock:
            try:
                return self._insert(sender, receiver, nonce_ns, now_ns)
            except sqlite3.Error as error:
                self._drop_connection()
                raise StoreAway(f"nonce store {self._path.name}: {error}") from None

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._drop_connection()

    def _insert(self, sender: str, receiver: str, nonce_ns: int, now_ns: int) -> bool:
        connection = self._open()
        with connection:
            cursor = connection.execute(
                "INSERT OR IGNORE INTO nonces VALUES (?, ?, ?)", (nonce_ns, sender, receiver)
            )
            is_new = cursor.rowcount == 1
            if now_ns - self._pruned_ns > self._retention_ns:
                connection.execute("DELETE FROM nonces WHERE nonce_ns < ?", (now_ns - self._retention_ns,))
                self._pruned_ns = now_ns
        return is_new

    def _open(self) -> sqlite3.Connection:
        # A connection that crossed a fork must be neither used nor closed by the child.
        if self._connection is None or self._owner_pid != os.getpid():
            self._connection = self._connect()
            self._owner_pid = os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=self._busy_s, check_same_thread=False)
        try:
            switch_to_wal(connection, self._busy_s)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _drop_connection(self) -> None:
        if self._connection is not None and self._owner_pid == os.getpid():
            self._connection.close()
        self._connection = None
