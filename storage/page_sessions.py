"""Browsers that are signed in to the marketplace's pages, each by an API key, a passkey or a hotkey."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.renter import PageSession
from storage.tables import page_sessions

MOST_OF_A_HOLDER = 20
"""The oldest one beyond that is signed out."""


class PageSessions:
    """Who is signed in, by the digest of what the browser holds."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def begin(self, session: PageSession) -> None:
        """Keep a new one; those that have ended by then are forgotten."""
        table = page_sessions.c
        of_holder = sa.select(table.digest).where(
            table.key_id == session.key_id,
            table.passkey_id == session.passkey_id,
            table.hotkey == session.hotkey,
        )
        beyond = of_holder.order_by(table.begun_at.desc(), table.digest).offset(MOST_OF_A_HOLDER - 1)
        with writing(self._engine) as connection:
            old = [row[0] for row in connection.execute(beyond)]
            is_over = sa.or_(table.ends_at <= session.begun_at, table.digest.in_(old))
            connection.execute(sa.delete(page_sessions).where(is_over))
            connection.execute(sa.insert(page_sessions).values(row_of(session)))

    def get(self, digest: str, now: datetime) -> PageSession | None:
        """The one that is known by this digest, unless it has ended."""
        table = page_sessions.c
        query = sa.select(page_sessions).where(table.digest == digest, table.ends_at > now)
        with reading(self._engine) as connection:
            row = connection.execute(query).mappings().one_or_none()
            return record_of(PageSession, row) if row else None

    def end(self, digest: str) -> None:
        """Sign it out; again is harmless."""
        with writing(self._engine) as connection:
            connection.execute(sa.delete(page_sessions).where(page_sessions.c.digest == digest))
