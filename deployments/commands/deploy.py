"""`subnet deploy`: everything that a validator's Prefect server needs, on a real network."""

from __future__ import annotations

import os
from pathlib import Path

import click

from deployments.prefect_server import is_healthy
from deployments.prefect_setup import deploy, ensure_automation
from deployments.sites import load_dotenv
from flows.settings import read_settings
from tasks.errors import SettingError, SubnetError, UserError

POOLS = ("validator", "renting", "miner")


@click.command()
def command() -> None:
    """Make the work pool, the scheduled deployments and the crash automation on the server at PREFECT_API_URL.

    Repeating it changes nothing. The local subnet needs none of this: `subnet up` does it by itself.

    \b
    Example:
      subnet deploy
    """
    load_dotenv()
    if read_settings(os.environ).is_embedded:
        raise UserError("SUBNET_NETWORK is 'embedded': for the local subnet use `subnet up`")
    url = os.environ.get("PREFECT_API_URL", "")
    if not url or not is_healthy(url.removesuffix("/").removesuffix("/api")):
        raise SettingError(
            "PREFECT_API_URL", url, "the address of a Prefect server that answers, ending in /api"
        )
    deploy(POOLS, Path("prefect.yaml"), os.environ)
    if not ensure_automation(url):
        raise SubnetError(f"the server at {url} would not take the crash automation now; try again")
    click.echo(
        "Ready. Start workers under a supervisor: `prefect worker start --pool validator` for epochs,\n"
        "`python -m deployments.flow_worker --pool renting` for renting (docs/market.md),\n"
        "`prefect worker start --pool miner` for bringing machines in (docs/miner.md)."
    )
