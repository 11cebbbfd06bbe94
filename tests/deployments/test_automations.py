"""Automations on a real Prefect server: made once, and each of them calls the notification block when its event comes, or does not."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events import Event
from prefect.events.schemas.automations import AutomationCore
from prefect.events.schemas.events import Resource

from deployments.automations import AUTOMATION, alarms, crash_silent_runs
from deployments.pace import Pace
from deployments.prefect_client import client_of
from deployments.prefect_server import client_environment
from deployments.prefect_setup import ensure_automations, ensure_block, has_block
from deployments.sites import REPOSITORY
from tasks.errors import SettingError

NETUID, BLOCK = 51, "subnet-alerts"
PACE = Pace(epoch_s=4.0, tempo_s=3.0)
DEADLINE_S = 90.0
pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.xdist_group("flow worker")]


@pytest.fixture(scope="module")
def environment(prefect_server, prefect_folder):
    """Of whoever works with the server."""
    return {**os.environ, **client_environment(prefect_folder, prefect_server)}


@pytest.fixture(scope="module")
def sink():
    """A webhook of the operator's: its address, and what it was told."""
    told = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            told.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hooks/s3cret", told
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def url_file(sink, tmp_path_factory):
    """The file with the webhook's address."""
    file = tmp_path_factory.mktemp("secrets") / "alerts-url"
    file.write_text(sink[0] + "\n")
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def made(environment, url_file):
    """What making the block and the automations has done."""
    assert not has_block(environment, BLOCK)
    ensure_block(environment, BLOCK, url_file)
    return ensure_automations(environment, NETUID, PACE, BLOCK)


@pytest.fixture(scope="module")
def zombie(environment, made):
    """A run that gives one sign of life, and never another; it has to give one every ten seconds, as long as these tests last."""
    quick = crash_silent_runs(timedelta(seconds=10)).model_copy(update={"name": "the same, quicker"})
    with client_of(environment) as client:
        automation = client.create_automation(quick)
        flow_id = client.create_flow_from_name("keep")
        run = client.request(
            "POST",
            "/flow_runs/",
            json={"flow_id": str(flow_id), "name": "zombie", "state": {"type": "RUNNING"}},
        ).json()
        heartbeat = Event(
            event="prefect.flow-run.heartbeat",
            occurred=datetime.now(UTC),
            resource=Resource({"prefect.resource.id": f"prefect.flow-run.{run['id']}"}),
        )
        client.request("POST", "/events", json=[heartbeat.model_dump(mode="json")])
    yield run["id"]
    # Other tests' runs on the same server last longer than ten seconds.
    with client_of(environment) as client:
        client.delete_automation(automation)


@pytest.fixture(scope="module")
def told(environment, made, zombie, sink):
    """By subject, all texts that the webhook was told, once everything has gone wrong."""
    with client_of(environment) as client:
        client.create_work_pool(WorkPoolCreate(name="validator", type="process"))
        client.send_worker_heartbeat("validator", "a worker that dies", 1.0)
    command = [sys.executable, "-m", "tests.deployments.automation_flows"]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    wanted = {f"subnet {NETUID}: {alarm.name}" for alarm in alarms(NETUID, PACE)}
    end = time.monotonic() + DEADLINE_S
    while {body["subject"] for _, body in sink[1]} < wanted and time.monotonic() < end:
        time.sleep(0.25)
    found = defaultdict(list)
    for _, body in sink[1]:
        found[body["subject"].partition(": ")[2]].append(body["text"])
    return found


def test_they_are_made_once(environment, made):
    """Each of them; made again, nothing changes; at another pace, those change in which time counts."""
    slower = Pace(epoch_s=600.0, tempo_s=4_332.0)
    again = ensure_automations(environment, NETUID, PACE, BLOCK)
    changed = ensure_automations(environment, NETUID, slower, BLOCK)
    back = ensure_automations(environment, NETUID, PACE, BLOCK)

    names = {AUTOMATION, *(f"subnet {NETUID}: {alarm.name}" for alarm in alarms(NETUID, PACE))}
    assert set(made) == {f"made: {name}" for name in names}
    assert again == ()
    assert (
        changed
        == back
        == tuple(
            f"changed: subnet {NETUID}: {name}"
            for name in ("no epoch began in time", "an epoch did not end in time", "no weights for long")
        )
    )


def test_one_that_is_not_wanted_any_more_goes(environment, made):
    """Of this subnet's alone: another's, and the operator's own, stay."""
    with client_of(environment) as client:
        (ours,) = client.read_automations_by_name(f"subnet {NETUID}: the pass rate fell")
        body = ours.model_dump(exclude={"id"})
        spare = AutomationCore(**body | {"name": f"subnet {NETUID}: of an older version"})
        other = AutomationCore(**body | {"name": "subnet 5: of another validator"})
        for one in (spare, other):
            client.create_automation(one)
        done = ensure_automations(environment, NETUID, PACE, BLOCK)
        left = client.read_automations_by_name(other.name)
        client.delete_automation(left[0].id)

    assert done == (f"gone: {spare.name}",)
    assert len(left) == 1


def test_without_a_block_of_that_name_nothing_is_made(environment, made):
    """The mistake is one sentence."""
    with pytest.raises(SettingError, match="the name of a notification block"):
        ensure_automations(environment, NETUID, PACE, "nobody")


def test_the_address_of_the_webhook_is_a_secret(environment, made, sink):
    """Whoever reads blocks and automations without asking for secrets sees none of it."""
    with client_of(environment) as client:
        blocks = client.read_block_documents(include_secrets=False)
        automations = client.read_automations()

    assert "s3cret" not in "".join(one.model_dump_json() for one in (*blocks, *automations))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no epoch began in time", "No epoch of subnet 51 has begun for 0:00:10"),
        ("an epoch did not end in time", "epoch 6 has not ended when the next one was due"),
        ("weights did not land", "weights of epoch 7: WEIGHTS_DIFFER"),
        ("no weights for long", "No weights of subnet 51 were set for 0:00:10"),
        ("the pass rate fell", "epoch 7: 0% of 20 machines proved, usually 90%"),
        ("a budget is exhausted", "epoch 7: the chain had no answer within its deadline"),
        ("a pool has no worker", "No worker of the pool validator gives a sign of life."),
        ("a run crashed or failed", "the disk is full"),
    ],
)
def test_each_tells_what_is_wrong(told, name, text):
    """Through the block, in one sentence."""
    assert text in "\n".join(told[name])


def test_the_block_is_called_at_its_secret_address(told, sink):
    """And at no other."""
    assert {path for path, _ in sink[1]} == {"/hooks/s3cret"}


def test_nothing_is_told_of_what_went_well(told):
    """Neither of a run that was completed, nor of an epoch that has ended."""
    texts = [text for some in told.values() for text in some]
    assert not [text for text in texts if "report" in text or "epoch 7 has not ended" in text]


def test_what_fails_again_and_again_is_told_once_an_hour(told):
    """Each flow for itself, and each trouble of an epoch."""
    assert len(told["a run crashed or failed"]) <= 2  # `validate`, and `keep` of the zombie
    assert len(told["weights did not land"]) == len(told["the pass rate fell"]) == 1


def test_a_run_without_heartbeat_is_crashed(environment, zombie, told):
    """Of a process that is gone nobody else says so."""
    with client_of(environment) as client:
        end = time.monotonic() + DEADLINE_S
        while not (state := client.read_flow_run(zombie).state).is_crashed():
            assert time.monotonic() < end, state
            time.sleep(0.25)

    assert state.message == "no heartbeat: its process is gone"
