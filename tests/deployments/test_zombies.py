"""Flow runs of killed processes, against a real Prefect server: ended when that is sure, and only then."""

import asyncio
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Pending, Running

from deployments.automations import AUTOMATION, SIGNS, crash_silent_runs, ensure, ensure_crash_automation
from deployments.prefect_client import client_of
from deployments.zombies import SILENCE, close_dead
from storage.claims import holder_of
from storage.runs import Run, this_run

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.xdist_group("flow worker")]
LATER = SILENCE + timedelta(seconds=60)
ELSEWHERE = holder_of(Run("token", "another-computer", "boot", 1, 1))


@flow(name="stands")
async def stands():
    """Never run here: only its runs' states are."""


@pytest.fixture
def gone():
    """The name of a process of this computer that is no more."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        run = this_run()
        process.kill()
    return holder_of(Run("token", run.host, run.boot_id, process.pid, 1))


def after(server, states, later=timedelta(0), pid=None):
    """A run that came through these states, after so long and a look at all runs: its state."""

    async def live():
        async with get_client() as client:
            run = await client.create_flow_run(stands, state=states[0])
            for state in states[1:]:
                await client.set_flow_run_state(run.id, state, force=True)
            if pid:
                await client.update_flow_run(run.id, infrastructure_pid=pid)
            await close_dead(client, datetime.now(UTC) + later)
            found = (await client.read_flow_run(run.id)).state
            await client.delete_flow_run(run.id)
            return found

    with temporary_settings({PREFECT_API_URL: server.api_url, PREFECT_API_AUTH_STRING: server.auth}):
        return asyncio.run(live())


def test_a_run_whose_process_is_gone_is_ended_at_once(prefect_server, gone):
    """By the name that its worker left in the run."""
    state = after(prefect_server, [Running()], pid=gone)

    assert state.is_crashed()
    assert f"on {socket.gethostname()}" in state.message


def test_one_that_was_taken_and_never_begun_is_too(prefect_server, gone):
    """Killed between taking and running: the name stands in its Pending."""
    assert after(prefect_server, [Pending(message=gone)]).is_crashed()


def test_one_that_was_being_cancelled_is_cancelled(prefect_server, gone):
    """That was what its owner wanted; nobody is left to say so."""
    state = after(prefect_server, [Running(), Cancelling()], pid=gone)

    assert state.is_cancelled()
    assert "its process is gone" in state.message


def test_one_that_lives_is_left_alone(prefect_server):
    """By our own process's name, now and however long it was silent not counting what Prefect heard of it."""
    assert after(prefect_server, [Running()], pid=holder_of(this_run())).is_running()


def test_one_of_another_computer_or_worker_is_ended_when_it_was_silent(prefect_server):
    """Nobody here can look at its process: three heartbeats that did not come tell, and nothing before."""
    assert after(prefect_server, [Running()], pid=ELSEWHERE).is_running()
    assert after(prefect_server, [Running()], pid=str(os.getpid())).is_running()
    for pid in (ELSEWHERE, str(os.getpid()), None):
        state = after(prefect_server, [Running()], LATER, pid)
        assert state.is_crashed()
        assert "nothing was heard of it for 180 s" in state.message


def test_an_automation_of_an_older_version_is_replaced(prefect_server):
    """Else a server that was set up before would never end what was killed before its first heartbeat."""
    older = crash_silent_runs()
    older.trigger.after = {"prefect.flow-run.heartbeat"}
    with client_of(prefect_server.access) as client:
        ensure(client, [older])
        assert ensure_crash_automation(prefect_server.access)
        assert ensure_crash_automation(prefect_server.access)
        found = client.read_automations_by_name(AUTOMATION)

    assert [one.trigger.after for one in found] == [set(SIGNS)]
