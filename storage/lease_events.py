"""What happened to leases, numbered without gaps in the order in which it was kept: the source of feeds and webhooks.

A number is taken under a lock that the whole transaction holds, so that whoever reads up to a number never misses a
smaller one that was not visible yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.rental import Happening, LeaseEvent, Rental, RentalState
from storage.tables import lease_events, rentals

LOGGED_IN = "REGISTRY_LOGIN"
"""An image of the repository in its message was pulled with its renter's login."""
_IS_LOGIN = f"kind = '{LOGGED_IN}'"
_OVER = (RentalState.ENDED.value, RentalState.FAILED.value)
_LOCK = 0x4C454153
"""Key of PostgreSQL's advisory lock; SQLite has one writer anyway."""


class LeaseEvents:
    """Reads what happened, and notes what is no move."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def note(self, rental: Rental, at: datetime, *happened: Happening) -> None:
        """Keep what happened to a lease without moving it."""
        with writing(self._engine) as connection:
            append(connection, rental, at, happened)

    def after(
        self, sequence: int, *, lease_id: str = "", renter_id: str = "", kind: str = "", limit: int = 100
    ) -> tuple[LeaseEvent, ...]:
        """The first events with a greater number, of one lease, of one renter, or of all; of one kind, or of all."""
        query = sa.select(lease_events).where(lease_events.c.sequence > sequence)
        if lease_id:
            query = query.where(lease_events.c.lease_id == lease_id)
        if renter_id:
            query = query.where(lease_events.c.renter_id == renter_id)
        if kind:
            query = query.where(lease_events.c.kind == kind)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(lease_events.c.sequence).limit(limit)).mappings()
            return tuple(record_of(LeaseEvent, row) for row in rows)

    def newest(
        self, lease_id: str, limit: int, *, only: str = "", without: Iterable[str] = ()
    ) -> tuple[LeaseEvent, ...]:
        """What happened to a lease last, newest first: of one kind, or of all but some, which are not counted either."""
        query = sa.select(lease_events).where(
            lease_events.c.lease_id == lease_id, lease_events.c.kind.not_in(tuple(without))
        )
        if only:
            query = query.where(lease_events.c.kind == only)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(lease_events.c.sequence.desc()).limit(limit)).mappings()
            return tuple(record_of(LeaseEvent, row) for row in rows)

    def steps(self, lease_ids: Iterable[str]) -> dict[str, list[LeaseEvent]]:
        """What was told of the steps of these leases, in order."""
        query = sa.select(lease_events).where(
            lease_events.c.lease_id.in_(tuple(lease_ids)), lease_events.c.kind == "STEP"
        )
        found: dict[str, list[LeaseEvent]] = {}
        with reading(self._engine) as connection:
            for row in connection.execute(query.order_by(lease_events.c.sequence)).mappings():
                found.setdefault(str(row["lease_id"]), []).append(record_of(LeaseEvent, row))
        return found

    def steps_since(self, since: datetime, most: int) -> tuple[LeaseEvent, ...]:
        """What was told of steps of all leases after this moment, among the newest so many events; the newest first."""
        table = lease_events.c
        newest = sa.select(sa.func.coalesce(sa.func.max(table.sequence), 0)).scalar_subquery()
        query = sa.select(lease_events).where(
            table.sequence > newest - most, table.kind == "STEP", table.at > since
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(table.sequence.desc())).mappings()
            return tuple(record_of(LeaseEvent, row) for row in rows)

    def is_login_of_others(self, repository: str, renter_id: str) -> bool:
        """Whether somebody else ever pulled of this repository with a login."""
        theirs = sa.and_(
            sa.text(_IS_LOGIN),  # the very words of the partial index, or it is not used
            lease_events.c.message == repository,
            lease_events.c.renter_id != renter_id,
        )
        with reading(self._engine) as connection:
            return bool(connection.execute(sa.select(sa.exists().where(theirs))).scalar_one())

    def forget(self, before: datetime, most: int) -> int:
        """Drop what happened before this moment to leases that were over by then, so many events at most; how many.

        Kept are logins, which say for ever whose a repository is, and the newest event, after which numbers go on.
        """
        theirs = sa.and_(rentals.c.lease_id == lease_events.c.lease_id, rentals.c.ended_at < before)
        is_old = sa.and_(
            lease_events.c.at < before,
            lease_events.c.kind != LOGGED_IN,
            lease_events.c.sequence < self.last(),
            sa.exists().where(theirs, rentals.c.state.in_(_OVER)),
        )
        query = sa.select(lease_events.c.sequence).where(is_old).order_by(lease_events.c.at).limit(most)
        with reading(self._engine) as connection:
            found = connection.execute(query).scalars().all()
        if found:
            with writing(self._engine) as connection:
                connection.execute(sa.delete(lease_events).where(lease_events.c.sequence.in_(found)))
        return len(found)

    def owners(self, sequence: int, limit: int) -> tuple[tuple[int, str], ...]:
        """The numbers of the first events after this one, each with whose lease it is about."""
        query = sa.select(lease_events.c.sequence, lease_events.c.renter_id)
        query = query.where(lease_events.c.sequence > sequence).order_by(lease_events.c.sequence).limit(limit)
        with reading(self._engine) as connection:
            return tuple((int(number), str(renter_id)) for number, renter_id in connection.execute(query))

    def last(self) -> int:
        """The newest number; 0 when nothing has happened."""
        with reading(self._engine) as connection:
            return _last(connection)


def append(connection: sa.Connection, rental: Rental, at: datetime, happened: Iterable[Happening]) -> None:
    """Keep these in the caller's transaction."""
    told = tuple(happened)
    if not told:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    first = _last(connection) + 1
    rows = [
        row_of(
            LeaseEvent(
                first + n, rental.lease_id, rental.renter_id, at, one.kind, one.message, facts=one.facts
            )
        )
        for n, one in enumerate(told)
    ]
    connection.execute(sa.insert(lease_events), rows)


def _last(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.max(lease_events.c.sequence))).scalar_one() or 0)
