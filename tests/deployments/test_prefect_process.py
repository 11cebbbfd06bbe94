"""Prefect's server on SQLite beside many writers: nobody is told "locked" for having read first, and nobody waits a minute."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from deployments.prefect_process import BUSY_MS
from deployments.sites import REPOSITORY

WRITERS, TIMES = 12, 10
LOOK = """
import asyncio, sqlite3, sys
from prefect.server.database.configurations import AioSqliteConfiguration
from deployments.prefect_process import bound_sqlite

if sys.argv[2] == "bounded":
    bound_sqlite()


async def look(file):
    configuration = AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{file}")
    session = await configuration.session(await configuration.engine())
    async with session, configuration.begin_transaction(session):
        connection = await session.connection()
        print((await connection.exec_driver_sql("PRAGMA busy_timeout")).scalar())
        other = sqlite3.connect(file, timeout=0)
        try:
            other.execute("BEGIN IMMEDIATE")
            print("another may write")
        except sqlite3.OperationalError as error:
            print(error)


asyncio.run(look(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [("bounded", [str(BUSY_MS), "database is locked"]), ("plain", ["60000", "another may write"])],
)
def test_a_transaction_takes_its_turn_when_it_begins(tmp_path, how, said):
    """It has the right to write before it has read; and whoever waits for it does so for seconds. Without us: neither."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, tmp_path / "db", how],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )

    assert done.stdout.splitlines() == said


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.xdist_group("flow worker")
def test_many_who_write_at_once_are_all_served(prefect_server):
    """Each reads what it changes; none of them is told to come again later, as most were."""
    auth = tuple(prefect_server.auth.split(":"))
    with httpx.Client(base_url=prefect_server.api_url, auth=auth, trust_env=False, timeout=60) as client:
        token = client.get("/csrf-token", params={"client": "test"}).json()["token"]
        client.headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "test"})

        def write(number):
            made = client.post("/variables/", json={"name": f"v_{number}", "value": "0"})
            changed = [
                client.patch(f"/variables/name/v_{number}", json={"value": str(time)})
                for time in range(TIMES)
            ]
            return [made.status_code, *(one.status_code for one in changed)]

        with ThreadPoolExecutor(WRITERS) as pool:
            codes = list(pool.map(write, range(WRITERS)))

    assert codes == [[201, *(TIMES * [204])]] * WRITERS
