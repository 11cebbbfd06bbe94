"""Migrated databases for tests: copies of one that this process has migrated once, since migrating takes as long as most tests."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from storage.database import migrate, open_database
from tests.postgres import postgres

KINDS = ("sqlite", "postgresql")
DEFAULT_KIND = os.environ.get("TESTS_DATABASE", KINDS[0])
"""TESTS_DATABASE=postgresql runs every test on it that asks for a fresh database, and for no kind of its own."""
_KIND = ContextVar("kind", default=DEFAULT_KIND)


def fresh(folder: Path, name: str = "subnet.db") -> sa.Engine:
    """The database of this name in this folder: the one that is there, else a migrated and empty one."""
    return open_database(fresh_url(folder, name))


def fresh_url(folder: Path, name: str = "subnet.db") -> str:
    """The same, by its URL, for another process."""
    if _KIND.get() == "postgresql":
        return postgres().migrated(_database_name(folder, name))
    path = folder / name
    if not path.exists():
        path.write_bytes(_empty())
    return f"sqlite:///{path}"


def empty_url(folder: Path, name: str = "subnet.db") -> str:
    """A database that nobody has migrated."""
    if _KIND.get() == "postgresql":
        return postgres().create(_database_name(folder, name))
    return f"sqlite:///{folder / name}"


@contextmanager
def kind_of_database(kind: str) -> Iterator[None]:
    """All that is `fresh` within the block is of this kind."""
    token = _KIND.set(kind)
    try:
        yield
    finally:
        _KIND.reset(token)


def _database_name(folder: Path, name: str) -> str:
    return hashlib.blake2b(str(folder / name).encode(), digest_size=16).hexdigest()


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(f"sqlite:///{folder}/subnet.db")
        migrate(engine)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        engine.dispose()
        return (Path(folder) / "subnet.db").read_bytes()
