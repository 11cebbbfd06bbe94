"""Inserting what may be there already: the same on SQLite and PostgreSQL, repeated without harm."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert_into(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """The dialect's insert, which knows ON CONFLICT."""
    return _insert(connection.dialect.name, table)


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, object]]) -> None:
    """Insert rows, or replace those with the same key; all rows have the same columns."""
    if rows:
        connection.execute(_replacing(connection.dialect.name, table, tuple(rows[0])), list(rows))


@lru_cache(maxsize=256)
def _replacing(dialect: str, table: sa.Table, names: tuple[str, ...]) -> sa.Executable:
    """Made once: to make it takes longer than to run it."""
    insert = _insert(dialect, table)
    keys = [column.name for column in table.primary_key.columns]
    values = {name: insert.excluded[name] for name in names if name not in keys}
    return insert.on_conflict_do_update(index_elements=keys, set_=values)


def _insert(dialect: str, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def add_up(
    connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, object]], *summed: str
) -> None:
    """Insert rows, or add these columns to the row with the same key."""
    if not rows:
        return
    insert = insert_into(connection, table)
    keys = [column.name for column in table.primary_key.columns]
    values = {name: table.c[name] + insert.excluded[name] for name in summed}
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=values), list(rows))
