"""`subnet miner offboard`: machines leave, and are as they were before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deployments.miner.onboard_options import Run, carry_out, onboard_options

if TYPE_CHECKING:
    from tasks.onboarding.work import Onboarding


@click.command()
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Say what would be done and change nothing.")
@click.option(
    "--force",
    "is_forced",
    is_flag=True,
    help="Also where renters are on the machine: they and their data are removed.",
)
@onboard_options
def command(
    *, hosts: tuple[str, ...], dry_run: bool, is_forced: bool, yes: bool, as_json: bool, **given: Any
) -> int:
    """Take machines out: validators find them no more, and all that was done on them is undone.

    A machine is paused first; where renters are on it, it stays until they are gone, or --force is given. With the last
    machine the agent ends, and its file is put aside. The keys, the place on the subnet and the authority are kept. It may be
    run again after whatever went wrong. With --json and without --yes it only tells.

    \b
    Examples:
      subnet miner offboard root@203.0.113.7 --dry-run
      subnet miner offboard root@203.0.113.7
      subnet miner offboard 203.0.113.7 203.0.113.8:2222 --user ubuntu --yes --json
    """

    async def do(work: Onboarding) -> object:
        from flows.offboard import offboard_machines  # noqa: PLC0415  SSH and the SDK are seconds of import

        return await offboard_machines(work, is_forced=is_forced, is_dry=is_dry)

    is_dry = dry_run or (as_json and not yes)
    return carry_out(Run("offboard", hosts, given, is_agreed=yes, as_json=as_json, is_dry=is_dry), do)
