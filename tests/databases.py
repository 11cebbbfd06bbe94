"""Migrated databases for tests: copies of one that this process has migrated once, since migrating takes as long as most tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from storage.database import migrate, open_database


def fresh(folder: Path, name: str = "subnet.db") -> sa.Engine:
    """The database of this name in this folder: the one that is there, else a migrated and empty one."""
    path = folder / name
    if not path.exists():
        path.write_bytes(_empty())
    return open_database(f"sqlite:///{path}")


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(f"sqlite:///{folder}/subnet.db")
        migrate(engine)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        engine.dispose()
        return (Path(folder) / "subnet.db").read_bytes()
