"""`subnet miner onboard`: from bare machines to their first verdict, as a plan first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployments.miner.onboard_options import FILE, Run, carry_out, onboard_options

if TYPE_CHECKING:
    from tasks.onboarding.work import Onboarding

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option(
    "--ceiling",
    "--max-tao",
    "ceiling_tao",
    help="The most TAO that a place may cost; asked for if not given.",
)
@click.option(
    "--price", "price_usd_per_hour", type=float, help="USD an hour for all cards; else by our list."
)
@click.option("--id", "executor_id", help="The machine's name for validators; else made of its address.")
@click.option(
    "--announce",
    help="ADDRESS:PORT of the agent for validators; else as it has, or as machines see this computer.",
)
@click.option("--host", help="Where the agent listens; as it does already, else everywhere.")
@click.option("--port", type=click.IntRange(1, 65_535), help="The port that it listens on; 8091.")
@click.option("--no-agent", is_flag=True, help="Have no agent run by this: you run it yourself.")
@click.option("--no-engine", is_flag=True, help="Install no container engine: the machine is not rented out.")
@click.option("--wheels", type=FOLDER, help="The prover's packages, for machines without a way to an index.")
@click.option("--python", help="The interpreter to look at machines with; /usr/bin/python3.")
@click.option("--policy", help="Whose minimum counts; that of the settings if not given.")
@click.option("--simulated-cards", help="Local subnet only: the folder of machines' simulated cards.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 86_400), help="Seconds for the first verdict; 2400."
)
@click.option("--coldkey-password-file", type=FILE, help="The coldkey's password; else typed or piped in.")
@onboard_options
def command(
    *,
    hosts: tuple[str, ...],
    dry_run: bool,
    no_agent: bool,
    no_engine: bool,
    coldkey_password_file: Path | None,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Bring machines in: look, plan, install, confine, prove, register, serve, and wait for the first verdict.

    HOST is [user@]host[:port], as validators will reach it. The plan is shown first, with what a place on the subnet costs;
    nothing is changed or paid without a yes. Every step may be done again: after whatever went wrong it goes on where it was,
    and where all is done it changes nothing. With --yes nobody is asked: --ceiling says what a place may cost, --accept-new
    that host keys of new machines are right. Where PREFECT_API_URL is set, the run is seen in the Prefect UI. Exit code 1
    when a machine has no verdict: which step, why, and the command that mends it.

    \b
    Examples:
      subnet miner onboard root@203.0.113.7 --dry-run
      subnet miner onboard root@203.0.113.7 --wallet miner --hotkey rack1 --price 1.6
      subnet miner onboard 203.0.113.7 203.0.113.8:2222 --user ubuntu --key ~/.ssh/gpu --announce 198.51.100.4:8091
      subnet miner onboard 203.0.113.7 --accept-new --ceiling 0.8 --yes --json
    """

    async def do(work: Onboarding) -> object:
        from flows.onboard import onboard_machines  # noqa: PLC0415  SSH and the SDK are seconds of import

        return await onboard_machines(work, is_dry=is_dry)

    is_dry = dry_run or (as_json and not yes)
    given |= {"runs_agent": not no_agent, "has_engine": not no_engine}
    run = Run(
        "onboard",
        hosts,
        given,
        is_agreed=yes,
        as_json=as_json,
        is_dry=is_dry,
        password_file=coldkey_password_file,
    )
    return carry_out(run, do)
