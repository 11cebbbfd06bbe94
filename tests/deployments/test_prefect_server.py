"""The Prefect server that the commands start: found on its port, or on another one when that was taken."""

import sys
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

from deployments.prefect_client import client_of
from deployments.prefect_server import PrefectServer, is_healthy, launch, server_environment
from deployments.processes import ChildDied, start
from deployments.sites import REPOSITORY


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.xdist_group("flow worker")
def test_a_port_taken_meanwhile_is_given_up(prefect_server):
    """When somebody takes the port between the look and the start, the server comes up on another one."""

    assert prefect_server.again is None
    assert is_healthy(prefect_server.url)


@pytest.mark.slow
def test_one_that_is_killed_is_begun_again_where_it_was_and_knows_who_holds_a_slot(tmp_path):
    """A run that holds its deployment's only slot renews it after the restart: else it would be cancelled, the epoch with it."""
    (tmp_path / "prefect").mkdir()
    server = launch(tmp_path, REPOSITORY, 0)
    try:
        server.wait()
        with client_of(server.access) as client:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="one", limit=1))
            taken = client.increment_concurrency_slots_with_lease(["one"], 1, "concurrency", 300.0)
            server.child.process.kill()
            server.child.process.wait()
            server.begin_again()
            server.wait()
            answer = client.renew_concurrency_lease(UUID(taken.json()["lease_id"]), 300.0)
    finally:
        server.stop()

    assert answer.is_success


def test_a_server_that_dies_twice_is_told(tmp_path):
    """The second death is no chance: its log's end stands in the error."""

    def dying() -> PrefectServer:
        command = [sys.executable, "-c", "raise SystemExit('disk is full')"]
        child = start("Prefect server", command, log=tmp_path / "log", environment={}, folder=tmp_path)
        return PrefectServer("http://127.0.0.1:9", child)

    server = dying()
    server.again = dying

    with pytest.raises(ChildDied, match="disk is full"):
        server.wait()


def test_the_users_own_prefect_settings_stay_out():
    """Nothing of the user's own Prefect gets into our server's environment."""

    environment = server_environment({"PREFECT_API_KEY": "x", "HOME": "/home/u"}, Path("/data"), 4201)

    assert "PREFECT_API_KEY" not in environment
    assert environment["PREFECT_HOME"] == "/data/prefect"
    assert environment["PREFECT_SERVER_API_PORT"] == "4201"
