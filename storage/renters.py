"""Renters and their API keys in the state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from storage import tables
from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.errors import TooMany
from storage.renter import ApiKey, Passkey, Renter, RenterState, Scope
from storage.tables import api_keys, passkeys, renters
from storage.upserts import insert_into

CREDITED = "credited"
"""The state of a deposit that has its renter."""
MAX_KEYS = 100
"""Of a renter that neither expired nor were revoked."""
TOUCH = timedelta(minutes=1)
"""How exact the last use of a key is: a write for each request would make reading as slow as writing."""


class Renters:
    """Who may ask, and with which keys."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, renter: Renter) -> bool:
        """Keep a new renter; False when there is one of this name."""
        with writing(self._engine) as connection:
            return _insert(connection, renters, row_of(renter))

    def enrol(self, renter: Renter, key: ApiKey) -> bool:
        """Keep a new renter with its first key, both or none; False when there is one of this name."""
        with writing(self._engine) as connection:
            if not _insert(connection, renters, row_of(renter)):
                return False
            connection.execute(sa.insert(api_keys).values(row_of(key)))
            return True

    def get(self, renter_id: str) -> Renter | None:
        """A renter by its name."""
        found = self._renters(sa.select(renters).where(renters.c.renter_id == renter_id))
        return found[0] if found else None

    def all(self) -> tuple[Renter, ...]:
        """All renters by name."""
        return self._renters(sa.select(renters).order_by(renters.c.renter_id))

    def stop(self, renter_id: str, now: datetime, reason: str, grace_until: datetime) -> bool:
        """Let it start nothing more; False when there is no such renter. Stopped twice: the newer reason counts."""
        values = {
            "state": RenterState.STOPPED.value,
            "stopped_at": now,
            "reason": reason,
            "grace_until": grace_until,
        }
        return self._change(renter_id, values)

    def allow(self, renter_id: str) -> bool:
        """Let it rent again; False when there is no such renter."""
        values = {
            "state": RenterState.ALLOWED.value,
            "stopped_at": None,
            "reason": "",
            "grace_until": None,
        }
        return self._change(renter_id, values)

    def due(self, now: datetime) -> tuple[Renter, ...]:
        """Stopped renters whose grace is over: their leases are to be ended."""
        stopped = sa.and_(renters.c.state == RenterState.STOPPED.value, renters.c.grace_until <= now)
        return self._renters(sa.select(renters).where(stopped).order_by(renters.c.renter_id))

    def made_since(self, moment: datetime) -> int:
        """How many made their account by themselves from this moment on."""
        count = sa.select(sa.func.count()).select_from(renters)
        with reading(self._engine) as connection:
            return int(
                connection.execute(
                    count.where(renters.c.is_self_made, renters.c.created_at >= moment)
                ).scalar_one()
            )

    def forget_unused(self, before: datetime, most: int) -> int:
        """Drop so many who made their account by themselves, never had money or a lease, and did nothing since; how many."""
        with reading(self._engine) as connection:
            seen = connection.execute(_unused(before)).scalars().all()
            awaited = _awaited(connection) if seen else set()
        found = [renter_id for renter_id in seen if renter_id not in awaited][:most]
        if not found:
            return 0
        with writing(self._engine) as connection:
            still = _unused(before).where(renters.c.renter_id.in_(found))
            gone = set(connection.execute(still).scalars()) - _awaited(connection)
            _forget(connection, sorted(gone))
            return len(gone)

    # --- API keys ------------------------------------------------------------------------------------

    def add_key(self, key: ApiKey, now: datetime) -> None:
        """Keep a new key; TooMany when its renter has as many as it may."""
        with writing(self._engine) as connection:
            _add_key(connection, key, now)

    def rotate_key(self, old_id: str, new: ApiKey, now: datetime, old_until: datetime) -> bool:
        """Keep the new key and let the old one end at `old_until`, or earlier if it did; False when the old is gone."""
        with writing(self._engine) as connection:
            mine = sa.and_(api_keys.c.key_id == old_id, api_keys.c.renter_id == new.renter_id)
            row = connection.execute(sa.select(api_keys).where(mine, _lives(now))).mappings().one_or_none()
            if row is None:
                return False
            old = record_of(ApiKey, row)
            until = min(old.expires_at, old_until) if old.expires_at else old_until
            connection.execute(sa.update(api_keys).where(mine).values(expires_at=until))
            _add_key(connection, new, now)
            return True

    def revoke_key(self, renter_id: str, key_id: str, now: datetime) -> bool:
        """Let a key end at once; False when the renter has none of this name that lives."""
        mine = sa.and_(api_keys.c.key_id == key_id, api_keys.c.renter_id == renter_id)
        with writing(self._engine) as connection:
            change = sa.update(api_keys).where(mine, _lives(now)).values(revoked_at=now)
            return connection.execute(change).rowcount == 1

    def keys(self, renter_id: str) -> tuple[ApiKey, ...]:
        """A renter's keys, oldest first, ended ones too."""
        query = sa.select(api_keys).where(api_keys.c.renter_id == renter_id)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(api_keys.c.created_at, api_keys.c.key_id)).mappings()
            return tuple(record_of(ApiKey, row) for row in rows)

    def key(self, key_id: str) -> tuple[ApiKey, Renter] | None:
        """A key and whose it is; of a passkey's id the key that stands for it, which may everything and has no secret."""
        with reading(self._engine) as connection:
            query = sa.select(api_keys).where(api_keys.c.key_id == key_id)
            row = connection.execute(query).mappings().one_or_none()
            key = record_of(ApiKey, row) if row else _standing_for(connection, key_id)
            if key is None:
                return None
            owner = sa.select(renters).where(renters.c.renter_id == key.renter_id)
            return key, record_of(Renter, connection.execute(owner).mappings().one())

    def touch_key(self, key: ApiKey, now: datetime) -> ApiKey:
        """Remember that it was used, at most once a minute; the key as it is then."""
        if key.last_used_at is not None and now - key.last_used_at < TOUCH:
            return key
        with writing(self._engine) as connection:
            change = sa.update(api_keys).where(api_keys.c.key_id == key.key_id)
            if connection.execute(change.values(last_used_at=now)).rowcount == 0:
                passkey = sa.update(passkeys).where(passkeys.c.passkey_id == key.key_id)
                connection.execute(passkey.values(last_used_at=now))
        return replace(key, last_used_at=now)

    # --- helpers -------------------------------------------------------------------------------------

    def _change(self, renter_id: str, values: dict[str, Any]) -> bool:
        with writing(self._engine) as connection:
            change = sa.update(renters).where(renters.c.renter_id == renter_id).values(values)
            return connection.execute(change).rowcount == 1

    def _renters(self, query: sa.Select[Any]) -> tuple[Renter, ...]:
        with reading(self._engine) as connection:
            return tuple(record_of(Renter, row) for row in connection.execute(query).mappings())


def _unused(before: datetime) -> sa.Select[tuple[str]]:
    """Renters who made their account by themselves before this moment, of whom nobody has anything since."""
    own = renters.c.renter_id
    traces = (
        sa.exists().where(tables.entries.c.account == sa.literal("renter:") + own),
        *(
            sa.exists().where(table.c.renter_id == own)
            for table in (tables.rentals, tables.chain_deposits, tables.volumes, tables.backups)
        ),
        *(
            sa.exists().where(table.c.renter_id == own, table.c.last_used_at >= before)
            for table in (api_keys, passkeys)
        ),
    )
    made = sa.select(own).where(renters.c.is_self_made, renters.c.created_at < before)
    return made.where(*(~trace for trace in traces)).order_by(renters.c.created_at)


def _awaited(connection: sa.Connection) -> set[str]:
    """Those for whom a deposit has come that is nobody's yet."""
    memos, seen = tables.deposit_memos.c, tables.chain_deposits.c
    waiting = connection.execute(sa.select(seen.memos).where(seen.state != CREDITED)).scalars()
    told = {memo for one in waiting for memo in json.loads(one)}
    known = connection.execute(sa.select(memos.memo_blake2b, memos.renter_id)) if told else ()
    return {renter_id for memo, renter_id in known if memo in told}


def _forget(connection: sa.Connection, renter_ids: Sequence[str]) -> None:
    """All rows of these, those that hang on others first."""
    for holder, name in ((api_keys, "key_id"), (passkeys, "passkey_id")):
        theirs = sa.select(holder.c[name]).where(holder.c.renter_id.in_(renter_ids))
        connection.execute(sa.delete(tables.page_sessions).where(tables.page_sessions.c[name].in_(theirs)))
    for table in (
        api_keys,
        passkeys,
        tables.ssh_keys,
        tables.templates,
        tables.deliveries,
        tables.webhooks,
        tables.requests_seen,
        tables.deposit_memos,
        renters,
    ):
        connection.execute(sa.delete(table).where(table.c.renter_id.in_(renter_ids)))


def _lives(now: datetime) -> sa.ColumnElement[bool]:
    """Neither revoked nor expired."""
    is_current = sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now)
    return sa.and_(api_keys.c.revoked_at.is_(None), is_current)


def _standing_for(connection: sa.Connection, passkey_id: str) -> ApiKey | None:
    query = sa.select(passkeys).where(passkeys.c.passkey_id == passkey_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    found = record_of(Passkey, row)
    return ApiKey(
        key_id=found.passkey_id,
        renter_id=found.renter_id,
        name=found.name,
        digest=b"",
        scopes=(Scope.ADMIN,),
        created_at=found.created_at,
        last_used_at=found.last_used_at,
    )


def _add_key(connection: sa.Connection, key: ApiKey, now: datetime) -> None:
    count = (
        sa.select(sa.func.count())
        .select_from(api_keys)
        .where(api_keys.c.renter_id == key.renter_id, _lives(now))
    )
    if connection.execute(count).scalar_one() >= MAX_KEYS:
        raise TooMany("API keys", MAX_KEYS)
    connection.execute(sa.insert(api_keys).values(row_of(key)))


def _insert(connection: sa.Connection, table: sa.Table, row: dict[str, object]) -> bool:
    insert = insert_into(connection, table).values(row).on_conflict_do_nothing()
    return connection.execute(insert).rowcount == 1
