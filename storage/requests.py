"""What an idempotency key was used for, so that a second use can be told from a retry."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from storage.convert import row_of
from storage.database import reading, writing
from storage.renter import RequestSeen
from storage.tables import rentals, requests_seen
from storage.upserts import insert_into


class RequestsSeen:
    """The digest of the first request of each key of a renter."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def first(self, renter_id: str, idempotency_key: str, digest: str, now: datetime) -> str:
        """The digest of the key's first request: this one's, or that of an earlier one."""
        is_it = sa.and_(
            requests_seen.c.renter_id == renter_id, requests_seen.c.idempotency_key == idempotency_key
        )
        query = sa.select(requests_seen.c.digest).where(is_it)
        with reading(self._engine) as connection:
            found = connection.execute(query).scalar_one_or_none()
        if found is not None:
            return str(found)
        row = row_of(RequestSeen(renter_id, idempotency_key, digest, now))
        with writing(self._engine) as connection:
            connection.execute(insert_into(connection, requests_seen).values(row).on_conflict_do_nothing())
            return str(connection.execute(query).scalar_one())

    def forget(self, before: datetime, most: int) -> int:
        """Drop what was asked before this moment, so many requests at most, unless it made a lease that was not over by then."""
        made = sa.and_(
            rentals.c.renter_id == requests_seen.c.renter_id,
            rentals.c.idempotency_key == requests_seen.c.idempotency_key,
        )
        stands = sa.or_(rentals.c.ended_at.is_(None), rentals.c.ended_at >= before)
        is_old = sa.and_(requests_seen.c.at < before, ~sa.exists().where(made, stands))
        names = (requests_seen.c.renter_id, requests_seen.c.idempotency_key)
        query = sa.select(*names).where(is_old).order_by(requests_seen.c.at).limit(most)
        with reading(self._engine) as connection:
            found = [tuple(row) for row in connection.execute(query)]
        if found:
            with writing(self._engine) as connection:
                connection.execute(sa.delete(requests_seen).where(sa.tuple_(*names).in_(found)))
        return len(found)
