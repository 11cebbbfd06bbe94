"""The chain's memory: one SQLite file that many processes read and write at once.

    settings    how the chain was made, one row
    anchors     block -> when it began (the lazy clock)
    states      block -> the state at its end, for each block in which something changed
    extrinsics  hash -> what was included, where, and how it ended

An extrinsic changes the *next* block, never one that somebody may have read already: a view pinned
to a block stays what it was. Whoever looks runs the epochs that are due. Recent states are all kept,
older ones at epochs only; a read at an older block gets the newest state kept before it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from deployments.localnet.chain.clock import CLOCK_STEP_BACK_MS, Anchor, Clock, reanchored
from deployments.localnet.chain.epoch import run_due_epoch
from deployments.localnet.chain.state import ChainState, decoded, encoded

T = TypeVar("T")

APPLICATION_ID = 0x6C6F6361
BUSY_S = 20.0
GUARD_MS = 20
"""An extrinsic that comes this close to the next block is included in the one after."""
RECENT_BLOCKS = 4_096
KEPT_EPOCHS = 256

TABLES = """
CREATE TABLE settings (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  block_time_ms INTEGER NOT NULL, idle_ms INTEGER NOT NULL, seed BLOB NOT NULL, seen_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE anchors (block INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE states (
  block INTEGER PRIMARY KEY, revision INTEGER NOT NULL, is_epoch INTEGER NOT NULL, document BLOB NOT NULL
) STRICT;
CREATE TABLE extrinsics (
  hash TEXT PRIMARY KEY, block INTEGER NOT NULL, position INTEGER NOT NULL, signer TEXT NOT NULL,
  nonce INTEGER NOT NULL, call TEXT NOT NULL, error TEXT NOT NULL, fee_rao INTEGER NOT NULL
) STRICT;
CREATE INDEX extrinsics_by_block ON extrinsics (block, position);
"""


AWAY = ".away"
"""While a file of the chain's name and this end is there, no process gets an answer, as in an outage of its node."""


class LedgerError(Exception):
    """The file is no chain of ours, or does not know the block."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """An included extrinsic. `error` is empty, or the pallet's error name."""

    hash: str
    block: int
    position: int
    signer: str
    nonce: int
    call: str
    error: str
    fee_rao: int


class Ledger:
    """One process's door to the file. Threads may share it; a forked child may not."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._now = now
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._cached: tuple[int, ChainState] | None = None
        """Revision and state that was read last; never changed in place."""
        self.seed = b""
        self.block_time_ms = 0
        self._idle_ms = 0

    # --- life

    def open(self) -> None:
        """Connect; LedgerError when there is no chain in the file. Idempotent."""
        with self._lock:
            if os.getpid() != self._pid:
                raise LedgerError("this chain was opened by the parent process: open it anew after a fork")
            if self._connection is None:
                connection = connected(self.path)
                found = connection.execute("SELECT block_time_ms, idle_ms, seed FROM settings")
                self.block_time_ms, self._idle_ms, self.seed = found.fetchone()
                self._connection = connection

    def close(self) -> None:
        """Let the file go; a later call opens it again."""
        with self._lock:
            if self._connection is not None and os.getpid() == self._pid:
                self._connection.close()
            self._connection = None

    # --- time

    def head(self) -> int:
        """The newest block."""
        with self._session() as connection:
            return self._clock(connection).block_at(self._now_ms())

    def begins_ms(self, block: int) -> int:
        """When a block began or will begin."""
        with self._session() as connection:
            return self._clock(connection).begins_ms(block)

    def wait_s(self, block: int) -> float:
        """How long until this block is the head; 0 when it is there."""
        with self._session() as connection:
            clock, now_ms = self._clock(connection), self._now_ms()
            if clock.block_at(now_ms) >= block:
                return 0.0
            return max(clock.begins_ms(block) - now_ms, 1) / 1000

    def advance(self, blocks: int) -> int:
        """Let blocks pass at once; the new head. Epochs that fall due run."""
        if blocks < 1:
            raise ValueError(f"blocks is {blocks}, expected at least 1")
        with self._writing() as connection:
            now_ms = self._now_ms()
            head = self._clock(connection).block_at(now_ms) + blocks
            _anchor(connection, Anchor(head, now_ms))
            self._catch_up(connection, head)
            return head

    def block_hash(self, block: int) -> str:
        """0x and 64 hex digits; the last 16 lead back to the number for those who hold the file."""
        self.open()
        text = blake2b(block.to_bytes(8), key=self.seed, digest_size=24).digest()
        mask = blake2b(text, key=self.seed, digest_size=8).digest()
        return "0x" + (text + bytes(a ^ b for a, b in zip(mask, block.to_bytes(8), strict=True))).hex()

    def block_of(self, block_hash: str) -> int:
        """The number behind a hash; LedgerError when it is none of this chain."""
        self.open()
        try:
            raw = bytes.fromhex(block_hash.removeprefix("0x"))
        except ValueError:
            raw = b""
        mask = blake2b(raw[:24], key=self.seed, digest_size=8).digest()
        block = int.from_bytes(a ^ b for a, b in zip(mask, raw[24:], strict=False))
        if len(raw) != 32 or self.block_hash(block) != block_hash:
            raise LedgerError(f"{block_hash} is no block of this chain")
        return block

    # --- state

    def state_at(self, block: int | None = None) -> ChainState:
        """The state at the end of a block, the head without one; not to be changed by the reader."""
        with self._session() as connection:
            head = self._clock(connection).block_at(self._now_ms())
            wanted = head if block is None else block
            if wanted > head:
                raise LedgerError(f"block {wanted} is not there yet, the head is {head}")
            state = self._newest(connection, wanted)
        if state.next_epoch_block() <= wanted:
            with self._writing() as connection:
                self._catch_up(connection, wanted)
                state = self._newest(connection, wanted)
        return state

    def pending(self) -> ChainState:
        """The newest state, with what is already included in the next block."""
        with self._session() as connection:
            return self._newest(connection, None)

    def include(self, change: Callable[[ChainState], tuple[T, Sequence[Receipt]]]) -> T:
        """Apply a change to the next block and record its receipts, in one transaction.

        `change` gets a state of its own; what it raises leaves the chain as it was.
        """
        while True:
            with self._writing() as connection:
                clock, now_ms = self._clock(connection), self._now_ms()
                newest = _newest_block(connection)
                block = max(clock.block_at(now_ms + GUARD_MS) + 1, newest)
                self._catch_up(connection, block)
                state = decoded(encoded(self._newest(connection, None)))
                state.enter(block)
                value, receipts = change(state)
                if self._clock(connection).block_at(self._now_ms()) >= block:
                    connection.execute("ROLLBACK")  # the block began meanwhile: somebody may have read it
                    continue
                self._store(connection, state, is_epoch=False)
                _record(connection, receipts)
                return value

    def receipt(self, extrinsic_hash: str, block: int) -> Receipt | None:
        """What became of an extrinsic in a block, None when the block does not carry it."""
        with self._session() as connection:
            row = connection.execute(
                "SELECT hash, block, position, signer, nonce, call, error, fee_rao FROM extrinsics"
                " WHERE hash = ? AND block = ?",
                (extrinsic_hash, block),
            ).fetchone()
        return None if row is None else Receipt(*row)

    # --- inside a transaction

    def _newest(self, connection: sqlite3.Connection, block: int | None) -> ChainState:
        """The newest stored state not after this block."""
        row = connection.execute(
            "SELECT block, revision FROM states WHERE block <= ? ORDER BY block DESC LIMIT 1",
            (block if block is not None else 1 << 62,),
        ).fetchone()
        if row is None:
            raise LedgerError(f"the state of block {block} is discarded")
        cached = self._cached
        if cached is not None and cached[0] == row[1]:
            return cached[1]
        found = connection.execute("SELECT document FROM states WHERE block = ?", (row[0],)).fetchone()
        state = decoded(found[0])
        self._cached = (row[1], state)
        return state

    def _catch_up(self, connection: sqlite3.Connection, block: int) -> None:
        """Run the epochs that are due up to this block, in order."""
        newest = self._newest(connection, None)
        due = (block - newest.last_epoch_block) // newest.hyperparameters.tempo
        if due <= 0:
            return
        state = decoded(encoded(newest))
        for left in range(due, 0, -1):
            run_due_epoch(state)
            if left <= KEPT_EPOCHS:
                self._store(connection, state, is_epoch=True)
        _prune(connection, state.block)

    def _store(self, connection: sqlite3.Connection, state: ChainState, *, is_epoch: bool) -> None:
        connection.execute(
            "INSERT INTO states (block, revision, is_epoch, document)"
            " VALUES (?, (SELECT coalesce(max(revision), 0) + 1 FROM states), ?, ?)"
            " ON CONFLICT (block) DO UPDATE SET revision = excluded.revision, document = excluded.document",
            (state.block, is_epoch, encoded(state)),
        )

    def _clock(self, connection: sqlite3.Connection) -> Clock:
        rows = connection.execute("SELECT block, at_ms FROM anchors ORDER BY block").fetchall()
        return Clock(tuple(Anchor(*row) for row in rows), self.block_time_ms)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    # --- sessions

    @contextmanager
    def _session(self) -> Iterator[sqlite3.Connection]:
        """The connection, alone; notes the access and lets the clock stand still over an idle gap."""
        if self.path.with_name(self.path.name + AWAY).exists():
            raise ConnectionError("the chain's node does not answer")
        with self._lock:
            self.open()
            assert self._connection is not None
            if self._connection.in_transaction:
                yield self._connection
                return
            (seen_ms,) = self._connection.execute("SELECT seen_ms FROM settings").fetchone()
            away_ms = self._now_ms() - seen_ms
            if away_ms > self._idle_ms // 10 or away_ms < -CLOCK_STEP_BACK_MS:
                self._note_access(self._connection)
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: all or nothing."""
        with self._session() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._cached = None
                raise
            if connection.in_transaction:
                connection.execute("COMMIT")
            else:
                self._cached = None

    def _note_access(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        now_ms = self._now_ms()
        (seen_ms,) = connection.execute("SELECT seen_ms FROM settings").fetchone()
        clock = self._clock(connection)
        anchor = reanchored(clock, now_ms=now_ms, seen_ms=seen_ms, idle_ms=self._idle_ms)
        if anchor is not None:
            _anchor(connection, anchor)
        connection.execute("UPDATE settings SET seen_ms = ?", (now_ms,))
        connection.execute("COMMIT")


def connected(path: Path) -> sqlite3.Connection:
    """A connection in explicit transactions, shared by threads behind our lock; LedgerError when it is no chain."""
    if not path.exists():
        raise LedgerError(f"{path} does not exist: the chain's genesis makes it")
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("SELECT seed FROM settings")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise LedgerError(f"{path} holds no local chain ({error})") from None
    return connection


def _anchor(connection: sqlite3.Connection, anchor: Anchor) -> None:
    connection.execute("INSERT OR REPLACE INTO anchors VALUES (?, ?)", (anchor.block, anchor.at_ms))


def _newest_block(connection: sqlite3.Connection) -> int:
    (block,) = connection.execute("SELECT max(block) FROM states").fetchone()
    return int(block)


def _record(connection: sqlite3.Connection, receipts: Sequence[Receipt]) -> None:
    connection.executemany(
        "INSERT INTO extrinsics VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(r.hash, r.block, r.position, r.signer, r.nonce, r.call, r.error, r.fee_rao) for r in receipts],
    )


def _prune(connection: sqlite3.Connection, block: int) -> None:
    """Keep recent states, then one an epoch, then none."""
    connection.execute("DELETE FROM states WHERE block < ? AND NOT is_epoch", (block - RECENT_BLOCKS,))
    connection.execute(
        "DELETE FROM states WHERE is_epoch AND block <"
        " (SELECT block FROM states WHERE is_epoch ORDER BY block DESC LIMIT 1 OFFSET ?)",
        (KEPT_EPOCHS - 1,),
    )
    connection.execute("DELETE FROM extrinsics WHERE block < ?", (block - 16 * RECENT_BLOCKS,))
