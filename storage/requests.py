"""What an idempotency key was used for, so that a second use can be told from a retry."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from storage.convert import row_of
from storage.database import reading, writing
from storage.renter import RequestSeen
from storage.tables import requests_seen
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
