"""What a Prefect server needs of ours, made so that repeating it changes nothing: pool, deployments, automation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.sites import REPOSITORY
from tasks.errors import SubnetError

DEADLINE_S = 300.0
SILENCE = timedelta(seconds=180)
"""Three heartbeats of prefect.toml."""
AUTOMATION = "flow runs without a heartbeat are crashed"
SIGNS = frozenset({"prefect.flow-run.heartbeat", "prefect.flow-run.Pending", "prefect.flow-run.Running"})
"""After each of them another one is due: a run may be killed before its first heartbeat."""


def deploy(pools: Iterable[str], deployments: Path, environment: Mapping[str, str]) -> None:
    """Make the work pools and the deployments of this file."""
    with _client(environment) as client:
        for pool in pools:
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"), overwrite=True)
    _prefect(["--no-prompt", "deploy", "--all", "--prefect-file", str(deployments)], environment)


def run_deployment(name: str, environment: Mapping[str, str]) -> None:
    """Ask for one run now."""
    with _client(environment) as client:
        client.create_flow_run_from_deployment(client.read_deployment_by_name(name).id)


@contextmanager
def _client(environment: Mapping[str, str]) -> Iterator[SyncPrefectClient]:
    """A client in this process: the command line of Prefect needs seconds for each call."""
    try:
        with (
            temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}),
            get_client(sync_client=True) as client,
        ):
            yield client
    except (PrefectException, httpx.HTTPError) as error:
        raise SubnetError(f"the Prefect server refuses: {type(error).__name__}: {error}"[:500]) from error


def ensure_automation(api_url: str) -> bool:
    """A run whose process was killed is marked as crashed: without this it stays Running for ever.

    False when the server would not have it now: that costs a mark in the UI, never an epoch.
    """
    try:
        _ensure_automation(api_url)
    except (PrefectException, httpx.HTTPError):
        return False
    return True


def _ensure_automation(api_url: str) -> None:
    with temporary_settings({PREFECT_API_URL: api_url}):
        with get_client(sync_client=True) as client:
            every = client.read_automations_by_name(AUTOMATION)
            found = [one for one in every if getattr(one.trigger, "after", None) == SIGNS]
            # A request that was repeated by a slow server's client made it twice; one of an older version does less.
            for spare in [one for one in every if one not in found[:1]]:
                client.delete_automation(spare.id)
        if not found:
            crash_silent_runs().create()


def crash_silent_runs() -> Automation:
    """After a sign of life, another event of the same run is expected within `SILENCE`."""
    runs = ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]})
    return Automation(
        name=AUTOMATION,
        trigger=EventTrigger(
            match=runs,
            after=set(SIGNS),
            expect={"prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                name=None, state=StateType.CRASHED, message="no heartbeat: its process is gone", force=False
            )
        ],
    )


def _prefect(arguments: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(  # noqa: S603  our own arguments, no shell
        [sys.executable, "-m", "prefect", *arguments],
        cwd=REPOSITORY,
        env={**environment, "SUBNET_REPOSITORY": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    if done.returncode != 0:
        shown = " ".join(arguments[:3])
        raise SubnetError(f"prefect {shown} failed:\n{(done.stdout + done.stderr)[-2000:]}")
