"""Locks between processes, by name: beside an SQLite file, or of the PostgreSQL server that several machines share.

Both end with the process that holds them, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from storage.database import open_database, translated
from storage.errors import StorageError


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Be the only one within the block; waits for its turn. The folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def shared_lock(url: str, name: str) -> Iterator[None]:
    """The same by the database of this URL, for everybody who works on it.

    Raises StorageError when there is no URL, DatabaseAway when the database does not answer, and at the block's end when its
    connection was lost meanwhile: then another may have been in the block, too.
    """
    if not url:
        raise StorageError(
            "a history on S3 is written only beside a state, whose database keeps writers apart"
        )
    digest = hashlib.blake2b(name.encode(), digest_size=8)
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        folder = Path(str(parsed.database)).absolute().parent
        with file_lock(folder / "locks" / digest.hexdigest()):
            yield
    else:
        with _advisory_lock(url, int.from_bytes(digest.digest(), signed=True)):
            yield


@contextmanager
def _advisory_lock(url: str, key: int) -> Iterator[None]:
    engine = open_database(url)
    try:
        with translated(), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.select(sa.func.pg_advisory_lock(key)))
            yield
            connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))
    finally:
        engine.dispose()
