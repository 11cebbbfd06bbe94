"""Sums over the ledger that are kept up from look to look: only lines that came since the last one are read.

    Running(engine).look() -> Totals        exact at the moment of the look

SQLite numbers lines as they are written, one writer at a time, and none is ever changed or dropped: those after the last
one that was seen are all that is new. PostgreSQL numbers nothing in the order of commits; there the whole is summed, over an
index that covers it, at most once a minute.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

import sqlalchemy as sa

from storage.database import reading
from storage.tables import entries, transfers

WHOLE_S = 60.0
"""How old the sums may be where they are made anew each time."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Micro-USD."""

    held: Mapping[str, int] = field(default_factory=dict)
    """What accounts of a kind (renter, miner, escrow, platform, outside ...) have together: all kinds are 0."""
    moved: Mapping[str, int] = field(default_factory=dict)
    """What transfers of a kind (METER, CREDIT, DEPOSIT ...) have moved since the ledger began."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """The newest line that is in the sums."""

    number: int
    transfer_id: str
    account: str


class Running:
    """Keeps the sums; safe for threads."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] = monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._has_numbers = engine.dialect.name == "sqlite"
        self._lock = threading.Lock()
        self._mark: _Mark | None = None
        self._held: Counter[str] = Counter()
        self._moved: Counter[str] = Counter()
        self._summed_at = float("-inf")

    def look(self) -> Totals:
        """As the ledger is now; on PostgreSQL, as it was within the last minute."""
        with self._lock:
            if self._has_numbers:
                self._go_on()
            elif self._clock() - self._summed_at >= WHOLE_S:
                self._sum_whole()
            return Totals(dict(self._held), dict(self._moved))

    def _go_on(self) -> None:
        with reading(self._engine) as connection:
            if self._mark is not None and _line(connection, self._mark.number) != self._mark:
                self._forget()  # another ledger: one that was restored
            after = self._mark.number if self._mark else 0
            newest = int(connection.execute(_NEWEST).scalar_one() or 0)
            if newest > after:
                self._add(connection, since(after))
                self._mark = _line(connection, newest)

    def _sum_whole(self) -> None:
        self._forget()
        with reading(self._engine) as connection:
            self._add(connection, _sums(connection.dialect.name))
        self._summed_at = self._clock()

    def _forget(self) -> None:
        self._mark = None
        self._held.clear()
        self._moved.clear()

    def _add(self, connection: sa.Connection, query: sa.Select[tuple[str, str, int, int]]) -> None:
        for held_by, kind, micro_usd, given in connection.execute(query):
            self._held[str(held_by)] += int(micro_usd)
            self._moved[str(kind)] += int(given)


_line_number: sa.ColumnElement[int] = sa.literal_column("entries.rowid", sa.BigInteger)
"""SQLite's own number of a line."""
_NEWEST = sa.select(sa.func.max(_line_number)).select_from(entries)
_GIVEN = sa.case((entries.c.micro_usd > 0, entries.c.micro_usd), else_=0)
_BEFORE_COLON = sa.func.instr(entries.c.account.concat(":"), ":") - 1
_KIND = {
    "sqlite": sa.func.substr(entries.c.account, 1, _BEFORE_COLON),
    "postgresql": sa.func.split_part(entries.c.account, ":", 1),
}


def _sums(dialect: str) -> sa.Select[tuple[str, str, int, int]]:
    """By kind of account and of transfer."""
    kind = _KIND[dialect].label(
        "held_by"
    )  # no column: grouped by one, SQLite would go through its whole index
    return (
        sa.select(kind, transfers.c.kind, sa.func.sum(entries.c.micro_usd), sa.func.sum(_GIVEN))
        .join(transfers, transfers.c.transfer_id == entries.c.transfer_id)
        .group_by(kind, transfers.c.kind)
    )


def since(number: int) -> sa.Select[tuple[str, str, int, int]]:
    """SQLite's sums over the lines after this one."""
    return _sums("sqlite").where(_line_number > number)


def _line(connection: sa.Connection, number: int) -> _Mark | None:
    query = sa.select(entries.c.transfer_id, entries.c.account).where(_line_number == number)
    found = connection.execute(query).one_or_none()
    return None if found is None else _Mark(number, str(found.transfer_id), str(found.account))
