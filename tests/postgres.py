"""A private PostgreSQL for tests: in its own folder, on a Unix socket alone, as a user without rights where we are root.

Started once for each process that asks, ended with it. Where there is none its tests are skipped by name;
TESTS_MAY_NOT_SKIP=1 makes that a failure. `make test` installs it where it can.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from storage.database import migrate, open_database
from tests.engines import skip_or_fail

PATH = f"/usr/lib/postgresql/15/bin:/usr/lib/postgresql/17/bin:{os.environ.get('PATH', os.defpath)}"
NOBODY = "nobody"
# Nothing of a test's outlives the machine, so that nothing needs to reach the disk.
OPTIONS = "-c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"


@dataclass(frozen=True)
class Postgres:
    """A server that runs, reached through the socket in its folder."""

    folder: Path

    def url(self, name: str, driver: str = "psycopg") -> str:
        """Of one of its databases."""
        return f"postgresql+{driver}://postgres@/{name}?host={self.folder}"

    def create(self, name: str, template: str = "template0") -> str:
        """Make a database, unless it is there; its URL."""
        with _commanding(self) as connection:
            there = sa.text("SELECT count(*) FROM pg_database WHERE datname = :name")
            if not connection.execute(there, {"name": name}).scalar():
                connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def migrated(self, name: str) -> str:
        """The database of this name, migrated: a copy of one that was migrated once; its URL."""
        return self.create(name, _template(self))

    def crash(self) -> None:
        """Let it lose everything that it holds in memory, as a machine does that loses its power; and start it again."""
        _run(["pg_ctl", "stop", "-m", "immediate", "-w", "-D", f"{self.folder}/data"])
        _start(self.folder)


@cache
def postgres() -> Postgres:
    """This process's server; the test that asks is skipped where there can be none."""
    if shutil.which("initdb", path=PATH) is None:
        skip_or_fail("there is no PostgreSQL here: apt install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="subnet-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, NOBODY)
    atexit.register(_end, folder)
    _run(
        ["initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    )
    _start(folder)
    return Postgres(folder)


def _commanding(server: Postgres) -> sa.Connection:
    engine = sa.create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    return engine.connect()


@cache
def _template(server: Postgres) -> str:
    engine = open_database(server.create("migrated"))
    migrate(engine)
    engine.dispose()
    return "migrated"


def _start(folder: Path) -> None:
    options = f"{OPTIONS} -c unix_socket_directories={folder}"
    _run(["pg_ctl", "start", "-w", "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options])


def _end(folder: Path) -> None:
    if (folder / "data" / "postmaster.pid").exists():
        _run(["pg_ctl", "stop", "-m", "immediate", "-D", f"{folder}/data"])
    shutil.rmtree(folder, ignore_errors=True)


def _run(words: Sequence[str]) -> None:
    """One of PostgreSQL's own programs, which all refuse to be run by root."""
    program = shutil.which(words[0], path=PATH)
    assert program is not None, words[0]
    nobody = pwd.getpwnam(NOBODY) if os.geteuid() == 0 else None
    done = subprocess.run(
        [program, *words[1:]],
        cwd="/",
        env={"PATH": PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        user=nobody and nobody.pw_uid,
        group=nobody and nobody.pw_gid,
        extra_groups=[] if nobody else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # no pipe: the server would keep it open
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{words[0]} failed with {done.returncode}"
