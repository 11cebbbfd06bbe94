"""What a Prefect server needs of ours, made so that repeating it changes nothing: pool, deployments, automation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import PrefectException
from prefect.types import SecretDict

from deployments.automations import OURS, crash_silent_runs, ensure, telling
from deployments.pace import Pace
from deployments.prefect_auth import read_secret
from deployments.prefect_client import client_of
from deployments.sites import REPOSITORY
from tasks.errors import SettingError, SubnetError

DEADLINE_S = 300.0


def deploy(pools: Iterable[str], deployments: Path, environment: Mapping[str, str]) -> None:
    """Make the work pools and the deployments of this file."""
    with _client(environment) as client:
        for pool in pools:
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"), overwrite=True)
    _prefect(["--no-prompt", "deploy", "--all", "--prefect-file", str(deployments)], environment)


def schedule_every(name: str, seconds: int, environment: Mapping[str, str]) -> None:
    """Let the one schedule of a deployment be of this interval, whatever its file says."""
    with _client(environment) as client:
        deployment = client.read_deployment_by_name(name)
        (found,) = deployment.schedules
        interval = timedelta(seconds=seconds)
        if isinstance(found.schedule, IntervalSchedule) and found.schedule.interval != interval:
            changed = found.schedule.model_copy(update={"interval": interval})
            client.update_deployment_schedule(deployment.id, found.id, schedule=changed)


def run_deployment(name: str, environment: Mapping[str, str]) -> None:
    """Ask for one run now."""
    with _client(environment) as client:
        client.create_flow_run_from_deployment(client.read_deployment_by_name(name).id)


@contextmanager
def _client(environment: Mapping[str, str]) -> Iterator[SyncPrefectClient]:
    """A client in this process: the command line of Prefect needs seconds for each call."""
    try:
        with client_of(environment) as client:
            yield client
    except (PrefectException, httpx.HTTPError) as error:
        raise SubnetError(f"the Prefect server refuses: {type(error).__name__}: {error}"[:500]) from error


def ensure_automations(
    environment: Mapping[str, str], netuid: int, pace: Pace, block: str | None
) -> tuple[str, ...]:
    """Make or renew them; what was done. Without a block only that which tells nobody; SettingError for one that is not there."""
    with _client(environment) as client:
        wanted, prefix = [crash_silent_runs()], ""
        if block is not None:
            found = _block(client, block)
            if found is None:
                raise SettingError(
                    "--block",
                    block,
                    "the name of a notification block of this Prefect server; --url-file makes one",
                )
            wanted, prefix = [*wanted, *telling(netuid, pace, found)], f"{OURS}{netuid}: "
        return ensure(client, wanted, prefix)


def has_block(environment: Mapping[str, str], name: str) -> bool:
    """Whether there is a notification block of this name."""
    with _client(environment) as client:
        return _block(client, name) is not None


def _block(client: SyncPrefectClient, name: str) -> UUID | None:
    for document in client.read_block_documents(include_secrets=False):
        schema = document.block_schema
        if document.name == name and schema is not None and "notify" in schema.capabilities:
            return document.id
    return None


def ensure_block(environment: Mapping[str, str], name: str, url_file: Path) -> None:
    """A notification block that posts to the address in this file, which only its owner may read."""
    url = read_secret(
        "--url-file", url_file, r"https?://[!-~]{3,2000}", "an http or https address on one line"
    )
    with _client(environment):
        block = CustomWebhookNotificationBlock(
            name=name,
            url="{{url}}",
            json_data={"subject": "{{subject}}", "text": "{{body}}"},
            headers=None,
            cookies=None,
            secrets=SecretDict({"url": url}),
        )
        block.save(name, overwrite=True)


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
