"""A private PostgreSQL for tests: in its own folder, on a Unix socket alone, as a user without rights where we are root.

Started once for each process that asks, ended with it, however that ends. Where there is none its tests are skipped by name;
TESTS_MAY_NOT_SKIP=1 makes that a failure. `make test` installs it where it can.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage.database import migrate, open_database
from tests.engines import skip_or_fail

PATH = f"/usr/lib/postgresql/15/bin:/usr/lib/postgresql/17/bin:{os.environ.get('PATH', os.defpath)}"
NOBODY = "nobody"
# Nothing of a test's outlives the machine, so that nothing needs to reach the disk.
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}
START_S = 120.0


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


@cache
def postgres() -> Postgres:
    """This process's server; the test that asks is skipped where there can be none."""
    if shutil.which("initdb", path=PATH) is None:
        skip_or_fail("there is no PostgreSQL here: apt install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="subnet-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, NOBODY)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _run(
        ["initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    )
    server = Postgres(folder)
    _start(server)
    return server


def _commanding(server: Postgres) -> sa.Connection:
    engine = sa.create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    return engine.connect()


@cache
def _template(server: Postgres) -> str:
    engine = open_database(server.create("migrated"))
    migrate(engine)
    engine.dispose()
    return "migrated"


def _start(server: Postgres) -> None:
    options = {**OPTIONS, "unix_socket_directories": str(server.folder)}
    words = ["postgres", "-D", f"{server.folder}/data"]
    process = subprocess.Popen(
        [
            _program(words[0]),
            *words[1:],
            *(word for key in options for word in ("-c", f"{key}={options[key]}")),
        ],
        preexec_fn=_die_with_us,  # noqa: PLW1509  a call of the system, nothing of Python
        **_as_nobody(),
    )
    atexit.register(_end, process, os.getpid())
    end = time.monotonic() + START_S
    while True:
        try:
            _commanding(server).close()
        except sa.exc.OperationalError:
            assert process.poll() is None, f"PostgreSQL ended with {process.returncode}"
            assert time.monotonic() < end, f"PostgreSQL was not there after {START_S:g} s"
            time.sleep(0.05)
        else:
            return


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:  # a fork of ours
        return
    process.send_signal(signal.SIGQUIT)  # at once, without a last word to the disk
    process.wait()


def _die_with_us() -> None:
    """End with the thread that starts us, also when it is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _run(words: Sequence[str]) -> None:
    done = subprocess.run([_program(words[0]), *words[1:]], timeout=START_S, check=False, **_as_nobody())
    assert done.returncode == 0, f"{words[0]} failed with {done.returncode}"


def _program(name: str) -> str:
    program = shutil.which(name, path=PATH)
    assert program is not None, name
    return program


def _as_nobody() -> dict[str, Any]:
    """How PostgreSQL's own programs are run, which all refuse to be run by root."""
    nobody = pwd.getpwnam(NOBODY) if os.geteuid() == 0 else None
    return {
        "cwd": "/",
        "env": {"PATH": PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        "user": nobody and nobody.pw_uid,
        "group": nobody and nobody.pw_gid,
        "extra_groups": [] if nobody else None,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
