"""Deployments of a validator on a real Prefect server: as prefect.yaml reads, at the pace of the chain."""

import os
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

from deployments.commands.deploy import POOLS
from deployments.pace import Pace, pace_of
from deployments.prefect_client import client_of
from deployments.prefect_server import client_environment
from deployments.prefect_setup import deploy, schedule_every
from deployments.sites import REPOSITORY
from storage.records import Head
from tests.tasks.renting.leases import NOON

READ = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
HEAD = Head(1_000, "0x", NOON, 12.0, 360, 900, 1_261)


def named(deployment):
    return f"{deployment['entrypoint'].rpartition('.')[2]}/{deployment['name']}"


@pytest.mark.parametrize(
    ("head", "pace", "schedule_s", "weights"),
    [
        (HEAD, Pace(600.0, 4_332.0), 600, "about every 7 epochs"),
        (replace(HEAD, block_time_s=0.25, next_epoch_block=911), Pace(12.5, 2.75), 12, "every epoch"),
        (replace(HEAD, block_time_s=0.001), Pace(0.05, 0.361), 1, "about every 7 epochs"),
    ],
)
def test_an_epoch_is_scheduled_as_often_as_the_chain_counts_one(head, pace, schedule_s, weights):
    """50 blocks, whatever a block takes, never longer; weights come once in a tempo."""
    found = pace_of(head)

    assert (found.epoch_s, found.tempo_s) == pytest.approx((pace.epoch_s, pace.tempo_s))
    assert found.schedule_s == schedule_s
    assert weights in found.told()


@pytest.mark.parametrize("deployment", READ["deployments"], ids=named)
def test_every_deployment_names_a_flow_that_is_there(deployment):
    """And a pool that `subnet deploy` makes."""
    flow = load_flow_from_entrypoint(deployment["entrypoint"])

    assert flow.name == deployment["entrypoint"].rpartition(".")[2]
    assert deployment["work_pool"]["name"] in POOLS


def test_whatever_has_a_schedule_runs_once_at_a_time():
    """Weights, compaction, the report and the watch have one writer each."""
    scheduled = {d["entrypoint"].rpartition(".")[2]: d for d in READ["deployments"] if "schedules" in d}

    assert set(scheduled) == {"validate", "report", "keep", "watch"}
    assert all(
        d["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"} for d in scheduled.values()
    )


def test_no_secret_stands_in_it():
    """No parameter, no variable, no address."""
    text = (REPOSITORY / "prefect.yaml").read_text()

    assert not [d for d in READ["deployments"] if set(d) & {"parameters", "job_variables"}]
    assert "://" not in text


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.xdist_group("flow worker")
def test_they_stand_on_a_server_as_they_read(prefect_server, prefect_folder):
    """All of them, but the epoch's schedule as the chain says."""
    environment = {**os.environ, **client_environment(prefect_folder, prefect_server)}
    deploy(POOLS, REPOSITORY / "prefect.yaml", environment)
    for seconds in (600, 12, 12):
        schedule_every("validate/validate", seconds, environment)
    with client_of(environment) as client:
        made = {}
        for deployment in READ["deployments"]:
            made[named(deployment)] = client.read_deployment_by_name(named(deployment))
        everything = client.read_deployments(limit=200)

    (epochs,) = made["validate/validate"].schedules
    assert epochs.schedule.interval == timedelta(seconds=12)
    assert f"{epochs.schedule.anchor_date:%F}" == "2026-01-01"
    assert made["validate/validate"].global_concurrency_limit.limit == 1
    assert len([d for d in everything if d.work_pool_name in POOLS]) == len(READ["deployments"])
