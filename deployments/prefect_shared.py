"""Prefect's server as several processes, on one PostgreSQL, with their messages in Redis.

    python -m deployments.prefect_shared upgrade            once, and after each new version: tables and block types
    python -m deployments.prefect_shared api --port 4200    the API and the UI; as many as you like, behind one address
    python -m deployments.prefect_shared services           schedules, automations, what comes in; one or more beside them

Two variables say where: PREFECT_SERVER_DATABASE_CONNECTION_URL (postgresql+asyncpg://...) and PREFECT_REDIS_MESSAGING_URL
(redis://host:port/0; the database after it is used, too). Whatever else Prefect needs to be several follows from them, unless
the environment says otherwise. In memory Prefect drops messages in a burst, and two servers would each run every schedule.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tasks.errors import SettingError

DATABASE, REDIS = "PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_REDIS_MESSAGING_URL"
HIDDEN = "(not shown)"
_REDIS = re.compile(r"(rediss?://[^/]+)/([0-9]{1,3})")
_REGISTER = """
import asyncio
from prefect.server.database import provide_database_interface
from prefect.server.models.block_registration import run_block_auto_registration

async def register():
    async with provide_database_interface().session_context() as session:
        await run_block_auto_registration(session=session)

asyncio.run(register())
"""
"""Block types, as a server alone registers them when it starts."""
_ROLES = {
    "upgrade": ("server", "database", "upgrade", "-y"),
    "api": ("server", "start", "--no-services"),
    "services": ("server", "services", "start"),
}


def shared_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a server process needs in its environment; what is there already stays.

    Raises SettingError when one of the two addresses is missing, or is of another kind.
    """
    if not environment.get(DATABASE, "").startswith("postgresql+asyncpg://"):
        raise SettingError(DATABASE, HIDDEN, "postgresql+asyncpg://user@host/name")
    redis = _REDIS.fullmatch(environment.get(REDIS, ""))
    if redis is None:
        raise SettingError(REDIS, HIDDEN, "redis://host:port/0, with a number at its end")
    return {
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_SERVER_DOCKET_URL": f"{redis[1]}/{int(redis[2]) + 1}",  # without it two run every schedule twice
        # `upgrade` does both, before they start: two that begin at once on an empty database fail each other.
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
        "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
        **environment,
    }


def main(arguments: list[str]) -> None:
    """Become Prefect's own command line in this role."""
    if not arguments or arguments[0] not in _ROLES:
        raise SystemExit(
            f"one of {', '.join(_ROLES)} is expected, e.g. python -m deployments.prefect_shared api"
        )
    try:
        environment = shared_environment(os.environ)
    except SettingError as error:
        raise SystemExit(f"Error: {error}") from None
    os.chdir(Path(__file__).parents[1])  # prefect.toml
    words = [sys.executable, "-m", "prefect", *_ROLES[arguments[0]], *arguments[1:]]
    if arguments[0] == "upgrade":
        subprocess.run(words, env=environment, check=True)  # noqa: S603  our own arguments
        words = [sys.executable, "-c", _REGISTER]
    os.execve(sys.executable, words, environment)  # noqa: S606  the same


if __name__ == "__main__":
    main(sys.argv[1:])
