"""The worker that runs flows inside itself, as a process, against a real Prefect server."""

import os
import sys
import time
from contextlib import contextmanager

import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Cancelling

from deployments.bell import bell_of, ring
from deployments.prefect_client import client_of
from deployments.prefect_server import client_environment
from deployments.processes import start, tail
from deployments.sites import REPOSITORY

DEADLINE_S = 300.0
pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.xdist_group("flow worker")]


@pytest.fixture(scope="module")
def folder(prefect_folder):
    """A folder with a setting in its `.env`."""
    (prefect_folder / ".env").write_text("SUBNET_TOLD_BY=the file\n")
    return prefect_folder


@pytest.fixture(scope="module")
def server(prefect_server):
    """The Prefect server of all these tests."""
    return prefect_server


@pytest.fixture(scope="module")
def client(server, folder):
    """Its client, with a pool named `flows`."""
    with client_of(client_environment(folder, server)) as client:
        client.create_work_pool(WorkPoolCreate(name="flows", type="process"))
        yield client


@contextmanager
def working(folder, server, name, *options, pool="flows"):
    """A worker on the pool until the end of the block."""
    worker = start(
        name,
        [sys.executable, "-m", "deployments.flow_worker", "--pool", pool, "--limit", "4", *options],
        log=folder / f"{name}.log",
        environment={**os.environ, **client_environment(folder, server), "PYTHONPATH": str(REPOSITORY)},
        folder=folder,
    )
    try:
        yield worker
    finally:
        worker.stop(grace_s=120.0)


@pytest.fixture(scope="module")
def worker(folder, server, client):
    with working(folder, server, "worker", "--sign", str(folder / "alive")) as worker:
        yield worker


def asked(client, name, queue=None, pool="flows", **parameters):
    """A run of one of the flows of worker_flows.py, asked for through its deployment."""
    deployment = client.create_deployment(
        client.create_flow_from_name(name),
        f"{name}-{queue}-{pool}",
        entrypoint=f"tests.deployments.worker_flows.{name}",
        work_pool_name=pool,
        work_queue_name=queue,
    )
    return client.create_flow_run_from_deployment(deployment, parameters=parameters)


def state_of(client, flow_run, wanted=lambda state: state.is_final()):
    """The run's state once it is as wanted."""
    end = time.monotonic() + DEADLINE_S
    while not wanted(state := client.read_flow_run(flow_run.id).state):
        assert time.monotonic() < end, f"{flow_run.name} is {state}"
        time.sleep(0.25)
    return state


def is_waiting(file):
    return lambda state: state.is_running() and file.exists()


def test_a_run_is_worked_by_the_worker_itself(client, worker, tmp_path):
    """What a deployment's run was asked to do is done in the worker's own process, and the run is completed."""
    run = asked(client, "write", path=str(tmp_path / "f"), text="done")

    assert state_of(client, run).is_completed()
    assert (tmp_path / "f").read_text() == f"done in {worker.process.pid}\n"


def test_a_bell_is_heard_at_once(client, server, folder, tmp_path):
    """A worker that looks once an hour begins what was asked for when the one who asked has rung."""
    client.create_work_pool(WorkPoolCreate(name="rung", type="process"))
    with working(folder, server, "hears", "--every", "3600", pool="rung"):
        first = asked(client, "write", pool="rung", path=str(tmp_path / "f"), text="first")
        state_of(client, first, rung_until_final(server.api_url))
        second = asked(client, "write", pool="rung", path=str(tmp_path / "f"), text="second")
        ring(bell_of(server.api_url, "rung"))

        assert state_of(client, second).is_completed()


def rung_until_final(api_url):
    """Rings at each look: whether the worker listens yet is not known."""

    def is_final(state):
        ring(bell_of(api_url, "rung"))
        return state.is_final()

    return is_final


def test_runs_of_a_worker_that_was_killed_are_ended_by_the_next(client, server, folder, tmp_path):
    """After a kill -9 its run would be Running for ever: the next worker says that its process is gone."""
    client.create_work_pool(WorkPoolCreate(name="killed", type="process"))
    with working(folder, server, "dies", pool="killed") as dies:
        run = asked(client, "wait", pool="killed", path=str(tmp_path / "f"))
        state_of(client, run, is_waiting(tmp_path / "f"))
        dies.process.kill()
        dies.process.wait()
    with working(folder, server, "heir", pool="killed"):
        state = state_of(client, run)

    assert state.is_crashed()
    assert f"its process is gone: {dies.process.pid} on " in state.message


def test_a_file_tells_that_prefect_hears_it(client, worker, folder, tmp_path):
    """Whoever looks after it, a container's engine for example, asks for the file's age."""
    run = asked(client, "write", path=str(tmp_path / "f"), text="done")
    state_of(client, run)

    assert (folder / "alive").exists()


def test_settings_come_from_the_folders_file(client, worker, tmp_path):
    """Else a worker that is started by hand would work for the local subnet, and say nothing of it."""
    run = asked(client, "tell", path=str(tmp_path / "f"), variable="SUBNET_TOLD_BY")

    assert state_of(client, run).is_completed()
    assert (tmp_path / "f").read_text() == "the file"


def test_a_flow_that_fails_fails_alone(client, worker, tmp_path):
    """Its run says why, a run whose flow can't be found is crashed, and the worker goes on with the next."""
    runs = [
        asked(client, "fail"),
        asked(client, "gone"),
        asked(client, "write", path=str(tmp_path / "f"), text="next"),
    ]
    failing, missing, after = (state_of(client, run) for run in runs)

    assert [s.type.value for s in (failing, missing, after)] == ["FAILED", "CRASHED", "COMPLETED"]
    assert "no such machine" in failing.message
    assert "gone" in missing.message


def test_a_cancelled_run_undoes_what_it_has_begun(client, worker, tmp_path):
    """Cancelled in Prefect: the flow's own clean-up has run before the run is called cancelled."""
    run = asked(client, "wait", path=str(tmp_path / "f"))
    state_of(client, run, is_waiting(tmp_path / "f"))

    client.set_flow_run_state(run.id, Cancelling())

    assert state_of(client, run, lambda state: state.is_cancelled()).is_cancelled()
    assert (tmp_path / "f").read_text() == "undone"


def test_what_stands_in_a_queue_of_its_own_takes_half_of_the_slots(client, worker, tmp_path):
    """Four slots, and five runs that never end: two are begun, and what others ask for is done meanwhile."""
    files = [tmp_path / f"wait-{n}" for n in range(5)]
    waiting = [asked(client, "wait", "copies", path=str(file)) for file in files]
    end = time.monotonic() + DEADLINE_S
    while sum(file.exists() for file in files) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    others = [asked(client, "write", path=str(tmp_path / "f"), text=f"run {n}") for n in range(6)]

    assert all(state_of(client, run).is_completed() for run in others)
    assert sum(file.exists() for file in files) == 2
    for run in waiting:
        client.set_flow_run_state(run.id, Cancelling())
    assert all(state_of(client, run, lambda state: state.is_cancelled()) for run in waiting)


def test_each_run_is_taken_by_one_of_several_workers_and_one_that_stops_undoes_its_own(
    client, worker, server, folder, tmp_path
):
    """Five that wait, too many for one worker, and three: three lines. After SIGTERM nothing is left running, in the worker or in Prefect."""
    with working(folder, server, "second"):
        waiting = [asked(client, "wait", path=str(tmp_path / f"wait-{n}")) for n in range(5)]
        for n, run in enumerate(waiting):
            state_of(client, run, is_waiting(tmp_path / f"wait-{n}"))
        runs = [asked(client, "write", path=str(tmp_path / "f"), text=f"run {n}") for n in range(3)]
        written = [state_of(client, run) for run in runs]
    ended = [run for run in waiting if client.read_flow_run(run.id).state.is_final()]

    assert all(state.is_completed() for state in written)
    lines = (tmp_path / "f").read_text().splitlines()
    assert sorted(line.partition(" in ")[0] for line in lines) == [f"run {n}" for n in range(3)]
    assert 1 <= len(ended) <= 4, tail(folder / "second.log")
    undone = [n for n in range(5) if (tmp_path / f"wait-{n}").read_text() == "undone"]
    assert [waiting[n] for n in undone] == ended
