"""Prefect's own command line, with what its server needs to stand on SQLite beside many writers.

    python -m deployments.prefect_process server start --port 4200

Prefect begins most transactions as DEFERRED: one that reads first and then writes fails with "database is locked" whenever
another has written in between, and its client is told 503. Begun as IMMEDIATE it waits for its turn instead.

And a connection waits for its turn for a minute at most, in a thread that holds the connection's mutex. When Python throws
an old cursor of that connection away meanwhile, the server's event loop waits for the mutex, so that nobody's turn ends: the
whole server stood still for 60 s (seen with a debugger, Prefect 3.8.8). `BUSY_MS` bounds that.

Neither changes anything where the server is on PostgreSQL.

A server that is started so is never open: without PREFECT_SERVER_API_AUTH_STRING it asks for what stands in a file of its own
(`deployments/prefect_auth.py`), and every other command of Prefect's signs in with it.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from deployments.prefect_auth import require_auth, take_auth
from tasks.errors import SettingError

BUSY_MS = 5_000
_ASKED, _BOUNDED = "BEGIN DEFERRED", "subnet_busy_ms"


def bound_sqlite() -> None:
    """For every engine of this process, those that are made later among them."""
    event.listen(Engine, "before_cursor_execute", _begin_at_once, retval=True)
    event.listen(Pool, "checkout", _wait_less)


def _begin_at_once(
    _connection: Any,
    _cursor: Any,
    statement: str,
    parameters: Any,
    _context: Any,
    _many: bool,  # noqa: FBT001
) -> tuple[str, Any]:
    return ("BEGIN IMMEDIATE" if statement == _ASKED else statement), parameters


def _wait_less(connection: Any, record: Any, _proxy: Any) -> None:
    """Once for each connection: Prefect has set its own when the connection was made."""
    if _BOUNDED in record.info or "sqlite" not in type(connection).__name__:
        return
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    cursor.close()
    record.info[_BOUNDED] = BUSY_MS


def sign_in(arguments: Sequence[str], environment: MutableMapping[str, str]) -> None:
    """What Prefect's own command asks for or sends; before it is imported."""
    if tuple(arguments[:1]) == ("server",):
        require_auth(environment)
    take_auth(environment)


if __name__ == "__main__":
    try:
        sign_in(sys.argv[1:], os.environ)
    except SettingError as error:
        sys.exit(f"Error: {error}")
    bound_sqlite()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
