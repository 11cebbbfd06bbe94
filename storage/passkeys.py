"""Passkeys of renters."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.errors import TooMany
from storage.renter import Passkey
from storage.tables import page_sessions, passkeys
from storage.upserts import insert_into

MAX_PASSKEYS = 20
"""Of a renter."""


class Passkeys:
    """What is known of each."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, passkey: Passkey) -> bool:
        """Keep a new one; False when there is one of this name already, TooMany when its renter has as many as it may."""
        count = sa.select(sa.func.count()).select_from(passkeys)
        with writing(self._engine) as connection:
            theirs = count.where(passkeys.c.renter_id == passkey.renter_id)
            if connection.execute(theirs).scalar_one() >= MAX_PASSKEYS:
                raise TooMany("passkeys", MAX_PASSKEYS)
            insert = insert_into(connection, passkeys).values(row_of(passkey)).on_conflict_do_nothing()
            return connection.execute(insert).rowcount == 1

    def get(self, passkey_id: str) -> Passkey | None:
        """By its name."""
        with reading(self._engine) as connection:
            query = sa.select(passkeys).where(passkeys.c.passkey_id == passkey_id)
            row = connection.execute(query).mappings().one_or_none()
            return record_of(Passkey, row) if row else None

    def of_renter(self, renter_id: str) -> tuple[Passkey, ...]:
        """A renter's, oldest first."""
        query = sa.select(passkeys).where(passkeys.c.renter_id == renter_id)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(passkeys.c.created_at, passkeys.c.passkey_id))
            return tuple(record_of(Passkey, row) for row in rows.mappings())

    def use(self, passkey: Passkey, sign_count: int, now: datetime) -> bool:
        """Remember that it was used and how far it counts; False when somebody used it meanwhile, or it is gone."""
        is_same = sa.and_(
            passkeys.c.passkey_id == passkey.passkey_id, passkeys.c.sign_count == passkey.sign_count
        )
        with writing(self._engine) as connection:
            change = sa.update(passkeys).where(is_same).values(sign_count=sign_count, last_used_at=now)
            return connection.execute(change).rowcount == 1

    def drop(self, renter_id: str, passkey_id: str) -> bool:
        """Forget it, and sign out the browsers that were signed in with it; False when the renter has none of this name."""
        mine = sa.and_(passkeys.c.passkey_id == passkey_id, passkeys.c.renter_id == renter_id)
        of_mine = sa.select(passkeys.c.passkey_id).where(mine)
        with writing(self._engine) as connection:
            connection.execute(sa.delete(page_sessions).where(page_sessions.c.passkey_id.in_(of_mine)))
            return connection.execute(sa.delete(passkeys).where(mine)).rowcount == 1
