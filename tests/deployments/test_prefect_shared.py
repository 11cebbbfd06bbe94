"""Prefect's server as several processes on one PostgreSQL with Redis between them."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.prefect_server import is_healthy
from deployments.prefect_shared import shared_environment
from deployments.processes import free_port, start
from deployments.sites import REPOSITORY
from tasks.errors import SettingError
from tests.postgres import postgres
from tests.redis import redis

DATABASE, REDIS = "postgresql+asyncpg://u:hidden-1@db/prefect", "redis://:hidden-2@cache:6379/0"
BURST = int(os.environ.get("TESTS_BURST", "5000"))
"""Task runs: as many as the messages in memory lose some of (with the same settings on one server: 179 of 5,000)."""
DEADLINE_S = 900.0


def test_what_prefect_needs_to_be_several_follows_from_two_addresses():
    """Messages, order and leases over Redis, the services' queue in its next database; what is set already stays."""
    given = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": DATABASE,
        "PREFECT_REDIS_MESSAGING_URL": REDIS,
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "true",
    }

    found = shared_environment(given)

    assert found["PREFECT_SERVER_DOCKET_URL"] == "redis://:hidden-2@cache:6379/1"
    assert found["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] == "true"
    assert [k for k, v in found.items() if v == "prefect_redis.messaging"] == [
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER",
        "PREFECT_SERVER_EVENTS_MESSAGING_CACHE",
    ]


def test_prefect_knows_every_name_that_is_set():
    """A variable that Prefect does not read would be silence: each changes the setting that it is meant for."""
    given = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": DATABASE, "PREFECT_REDIS_MESSAGING_URL": REDIS}
    program = (
        "from prefect.settings import get_current_settings as s; from prefect_redis.client import RedisMessagingSettings as r;"
        "s = s().server; print(s.events.messaging_broker, s.events.messaging_cache, s.events.causal_ordering,"
        "s.concurrency.lease_storage, s.docket.url.get_secret_value() if hasattr(s.docket.url, 'get_secret_value')"
        " else s.docket.url, s.database.migrate_on_start, r().url)"
    )
    environment = os.environ | shared_environment(given)

    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )

    assert done.stdout.split() == [
        "prefect_redis.messaging",
        "prefect_redis.messaging",
        "prefect_redis.ordering",
        "prefect_redis.lease_storage",
        "redis://:hidden-2@cache:6379/1",
        "False",
        REDIS,
    ], done.stderr


@pytest.mark.parametrize(
    "given",
    [
        {},
        {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///x",
            "PREFECT_REDIS_MESSAGING_URL": REDIS,
        },
        {"PREFECT_SERVER_DATABASE_CONNECTION_URL": DATABASE, "PREFECT_REDIS_MESSAGING_URL": "redis://h:1"},
    ],
)
def test_without_both_addresses_nothing_starts(given):
    """Several servers on a file, or with messages in memory, would lose what they are told; no address is repeated."""
    with pytest.raises(SettingError) as refused:
        shared_environment(given)

    assert "hidden" not in str(refused.value)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Two APIs and the services, as docs/scale.md starts them; their addresses."""
    folder = tmp_path_factory.mktemp("shared")
    server = postgres()
    server.create("prefect")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    ports = [free_port(0) for _ in range(2)]
    with ExitStack() as stack:
        environment = kept | {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": server.url("prefect", "asyncpg"),
            "PREFECT_REDIS_MESSAGING_URL": f"{stack.enter_context(redis())}/0",
            "PREFECT_HOME": str(folder),
        }
        roles = [("upgrade",), *(("api", "--port", str(port)) for port in ports), ("services",)]
        children = []
        for at, role in enumerate(roles):
            words = [sys.executable, "-m", "deployments.prefect_shared", *role]
            child = start(
                role[0], words, log=folder / f"{at}.log", environment=environment, folder=REPOSITORY
            )
            stack.callback(child.stop)
            if at == 0:
                assert child.process.wait(DEADLINE_S) == 0, (folder / "0.log").read_text()
            else:
                children.append(child)
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for child, url in zip(children, urls, strict=False):
            child.wait_until(lambda url=url: is_healthy(url), DEADLINE_S)
        yield urls


def ask(url, question):
    """What a server answers to a question of its client."""
    with temporary_settings({PREFECT_API_URL: f"{url}/api"}), get_client(sync_client=True) as client:
        return question(client)


def completed(client, kind="task_runs"):
    """How many runs are completed, counted by the server."""
    if kind == "task_runs":
        state = TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.COMPLETED]))
        wanted = {"task_runs": TaskRunFilter(state=state).model_dump(mode="json")}
    else:
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED]))
        wanted = {"flow_runs": FlowRunFilter(state=state).model_dump(mode="json")}
    return client.request("POST", f"/{kind}/count", json=wanted).json()


def until(condition, seconds=DEADLINE_S):
    """Wait for what happens in other processes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(1)


@pytest.mark.long
@pytest.mark.engine
@pytest.mark.xdist_group("shared servers")
def test_a_burst_over_two_servers_loses_nothing(servers):
    """Half of it is told to each server; in the end every task run stands there as completed, whichever is asked."""
    words = [sys.executable, "-m", "tests.deployments.shared_flows", str(BURST // 2)]
    bursts = [
        subprocess.Popen(words, cwd=REPOSITORY, env=os.environ | {"PREFECT_API_URL": f"{url}/api"})
        for url in servers
    ]

    assert [process.wait(DEADLINE_S) for process in bursts] == [0, 0]

    for url in servers:
        until(lambda url=url: ask(url, completed) == BURST)
        assert ask(url, lambda client: client.request("POST", "/task_runs/count", json={}).json()) == BURST


@pytest.mark.long
@pytest.mark.engine
@pytest.mark.xdist_group("shared servers")
def test_two_workers_of_one_pool_share_its_runs(servers, tmp_path):
    """Each worker reports to another server; every run is done once, and both have done some."""
    first, second = servers

    def ordered(client):
        client.create_work_pool(WorkPoolCreate(name="shared", type="process"))
        flow_id = client.create_flow_from_name("whose")
        deployment = client.create_deployment(
            flow_id=flow_id,
            name="shared",
            entrypoint="tests.deployments.shared_flows.whose",
            work_pool_name="shared",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(REPOSITORY)}}],
        )
        for number in range(6):
            parameters = {"folder": str(tmp_path), "number": number}
            client.create_flow_run_from_deployment(deployment, parameters=parameters)

    ask(first, ordered)
    workers = [
        start(
            f"worker {at}",
            [
                sys.executable,
                "-m",
                "prefect",
                "worker",
                "start",
                "--pool",
                "shared",
                "--name",
                f"w{at}",
                "--limit",
                "1",
            ],
            log=tmp_path / f"worker-{at}.log",
            environment=os.environ
            | {"PREFECT_API_URL": f"{url}/api", "PREFECT_HOME": str(tmp_path / "home")},
            folder=REPOSITORY,
        )
        for at, url in enumerate(servers)
    ]
    try:
        runs = [tmp_path / str(number) for number in range(6)]
        until(lambda: all(run.exists() and run.read_text() for run in runs))
        until(lambda: ask(second, lambda client: completed(client, "flow_runs")) >= 6)
    finally:
        for worker in workers:
            worker.stop()

    ran = [run.read_text().split() for run in runs]
    assert [len(processes) for processes in ran] == [1] * len(runs)
    assert len({process for processes in ran for process in processes}) == 2
