"""Copies of the state that can be put back: taken while everything works, each of one moment.

    SQLite       its own online backup, checked                        state.sqlite
    PostgreSQL   pg_dump and pg_restore of the server's own package    state.dump

A copy is put back where there is nothing: whoever restores has put the old state aside first.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from storage.database import open_database, reading
from storage.errors import StorageError

SQLITE, POSTGRES = "state.sqlite", "state.dump"
DEADLINE_S = 3_600.0
_SECRETS = {"password": "PGPASSWORD"}
_PARTS = {"host": "PGHOST", "port": "PGPORT", "username": "PGUSER", "database": "PGDATABASE", **_SECRETS}


def dump(url: str, folder: Path) -> Path:
    """Copy the state into this folder; the file. StorageError when it can't be read, or a copy lies there already."""
    parsed = sa.make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    target = folder / (SQLITE if is_sqlite else POSTGRES)
    if target.exists():
        raise StorageError(f"{target} is there already: every copy has a folder of its own")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if is_sqlite:
        _copy_sqlite(Path(parsed.database or ""), target)
    else:
        _run(["pg_dump", "--format=custom", f"--file={target}"], parsed)
    return target


def put_back(folder: Path, url: str) -> None:
    """Make the state of the copy in this folder; StorageError when there is none, or the state holds something."""
    parsed = sa.make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    source = folder / (SQLITE if is_sqlite else POSTGRES)
    if not source.is_file():
        raise StorageError(f"there is no {source.name} in {folder}")
    if is_sqlite:
        _restore_sqlite(source, Path(parsed.database or ""))
        return
    if _tables(url):
        raise StorageError(f"the database {parsed.database} holds tables: put a copy back into an empty one")
    # One transaction: either all of it is there afterwards, or nothing.
    _run(
        ["pg_restore", "--no-owner", "--single-transaction", "--exit-on-error", "--dbname=", str(source)],
        parsed,
    )


def _copy_sqlite(source: Path, target: Path) -> None:
    if not source.is_file():
        raise StorageError(f"there is no state at {source}")
    draft = target.with_suffix(".part")
    draft.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(draft)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")  # one file, and none beside it
        _check_sqlite(draft)
    except sqlite3.Error as error:
        raise StorageError(f"{source} can't be copied: {error}") from error
    draft.chmod(0o600)
    draft.replace(target)


def _restore_sqlite(source: Path, target: Path) -> None:
    _check_sqlite(source)
    beside = [target, target.with_name(f"{target.name}-wal"), target.with_name(f"{target.name}-shm")]
    left = [str(path) for path in beside if path.exists()]
    if left:
        raise StorageError(f"{', '.join(left)} is in the way: put the old state aside first")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".part")
    shutil.copyfile(source, draft)
    draft.chmod(0o600)
    draft.replace(target)


def _check_sqlite(file: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as copy:
            (said,) = copy.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        raise StorageError(f"{file} is damaged: {said}")


def _tables(url: str) -> Sequence[str]:
    engine = open_database(url)
    try:
        with reading(engine) as connection:
            return sa.inspect(connection).get_table_names()
    finally:
        engine.dispose()


def _run(command: Sequence[str], url: sa.URL) -> None:
    """A program of PostgreSQL's; where the database is and its password are in its environment, where nobody else reads them."""
    named = {key: getattr(url, part) for part, key in _PARTS.items()} | {
        "PGHOST": url.host or url.query.get("host")
    }
    environment = {**os.environ, **{key: str(value) for key, value in named.items() if value}}
    try:
        done = subprocess.run(  # noqa: S603  our own arguments, no shell
            list(command), env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
    except FileNotFoundError:
        raise StorageError(f"{command[0]} is not installed: it comes with PostgreSQL's client") from None
    except subprocess.TimeoutExpired:
        raise StorageError(f"{command[0]} took more than {DEADLINE_S:g} s") from None
    if done.returncode != 0:
        raise StorageError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
