"""The engine and its schema: one URL opens SQLite (WAL) or PostgreSQL, and `migrate` brings it up to date.

Transactions are short and say what they want: `reading` sees one consistent moment, `writing` takes the
write lock at its begin, so that a compare-and-set never fails half way for a lock taken too late.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.pool import ConnectionPoolEntry

from storage.errors import DatabaseAway, SchemaUnknown, StorageError
from storage.sqlite import switch_to_wal

BUSY_TIMEOUT_S = 30.0
MIGRATIONS = Path(__file__).with_name("migrations")
_MIGRATION_LOCK = 0x5355424E
"""Key of PostgreSQL's advisory lock: two processes that migrate at once go one after the other."""


def open_database(url: str) -> sa.Engine:
    """An engine over `sqlite:///path` or `postgresql://...` (by psycopg 3); the folder of an SQLite file is made.

    Raises StorageError when the URL does not parse, or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return sa.create_engine(parsed, pool_pre_ping=True)
    except exc.ArgumentError:
        raise StorageError(
            "the database's URL is not of the form sqlite:///path or postgresql://..."
        ) from None
    except ModuleNotFoundError as error:
        raise StorageError(f"the database's driver {error.name!r} is not installed") from error


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that only reads: all of it sees the same moment."""
    level = "REPEATABLE READ" if engine.dialect.name == "postgresql" else "SERIALIZABLE"
    with (
        translated(),
        engine.connect().execution_options(isolation_level=level) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes; on SQLite it holds the write lock from its first moment."""
    # Without the second, nobody can tell on PostgreSQL whether an insert has inserted.
    options = {"is_writer": True, "preserve_rowcount": True}
    with translated(), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to this code's; safe when several processes call it at once, quick when there is nothing to do.

    Raises SchemaUnknown when the database was written by newer code.
    """
    wanted = head_revision()
    with reading(engine) as connection:
        found = _revision(connection)
    if found == wanted:
        return
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        found = _revision(connection)
        if found is not None and found > wanted:
            raise SchemaUnknown(
                f"the database's schema is {found}, this code knows {wanted}: run the newer code"
            )
        if found != wanted:
            _upgrade(connection)


def head_revision() -> str:
    """The newest revision that this code has: the number that its file begins with."""
    return max(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))


def _open_sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise StorageError("the state needs a file: sqlite:///path, not a database in memory")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseAway(f"the folder of {url.database} cannot be made: {error.strerror}") from error
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_pragmas(connection: sa.engine.interfaces.DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    """WAL, foreign keys, and transactions that begin where we say so instead of where the driver guesses."""
    del entry
    connection.isolation_level = None
    cursor = connection.cursor()
    switch_to_wal(cursor, BUSY_TIMEOUT_S)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    is_writer = connection.get_execution_options().get("is_writer", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")


@contextmanager
def translated() -> Iterator[None]:
    """What a database can fail with, as errors of ours."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        raise DatabaseAway(f"the database does not do its work: {cause}") from error
    except exc.IntegrityError as error:
        raise StorageError(f"the database refuses a row: {error.orig}") from error
    except exc.DatabaseError as error:
        raise StorageError(f"the database can't be used: {error.orig}") from error


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _upgrade(connection: sa.Connection) -> None:
    """Run the migrations inside the caller's transaction."""
    from alembic import command  # noqa: PLC0415  half of the command line's import time, needed once a release
    from alembic.config import Config  # noqa: PLC0415  the same

    config = Config()
    config.set_main_option("script_location", os.fspath(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
