"""`subnet deploy`: everything that a validator's Prefect server needs, on a real network."""

from __future__ import annotations

import os
from pathlib import Path

import click

from deployments.pace import ask_pace
from deployments.prefect_setup import deploy, ensure_automations, has_block, schedule_every
from deployments.remote import remote_settings

POOLS = ("validator", "renting", "miner")


@click.command()
@click.option("--block", default="subnet-alerts", show_default=True, help="As for `subnet automations`.")
def command(*, block: str) -> None:
    """Make work pools, scheduled deployments and automations on the server at PREFECT_API_URL.

    An epoch is as long as the chain says: the schedule follows its blocks. Repeating it changes nothing; repeat it after every
    upgrade. The local subnet needs none of this: `subnet up` does it by itself.

    \b
    Example:
      subnet deploy
    """
    settings = remote_settings()
    pace = ask_pace(settings, click.echo)
    deploy(POOLS, Path("prefect.yaml"), os.environ)
    schedule_every("validate/validate", pace.schedule_s, os.environ)
    done = ensure_automations(
        os.environ, settings.netuid, pace, block if has_block(os.environ, block) else None
    )
    click.echo("\n".join(["Deployed: " + pace.told(), *done]))
    if not has_block(os.environ, block):
        click.echo(
            f"Nobody is told when something is wrong: there is no block `{block}` (see `subnet automations --help`)."
        )
    click.echo(
        "Ready. Start workers under a supervisor (deployments/README.md):\n"
        "`python -m deployments.prefect_process worker start --pool validator` for epochs,\n"
        "`python -m deployments.flow_worker --pool renting` for renting (docs/market.md),\n"
        "`python -m deployments.prefect_process worker start --pool miner` for bringing machines in (docs/miner.md)."
    )
