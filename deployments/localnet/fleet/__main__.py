"""`make fleet`, or `python -m deployments.localnet.fleet`: one epoch over a fleet, and what it took."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType

import click

from deployments.localnet.farm import rtt_of, wait_of
from deployments.localnet.fleet.profiles import Conditions
from deployments.localnet.fleet.running import Asked, run_fleet
from deployments.localnet.fleet.view import show_told
from deployments.sites import folder_of
from deployments.view import PhaseLines, make_console
from tasks.errors import SettingError, SubnetError


@click.command()
@click.option("--executors", "-n", type=click.IntRange(1, 10_000), default=1_000, show_default=True)
@click.option(
    "--rtt", default="far", show_default=True, help="Milliseconds for all, or `far`: 20 to 300, log-normal."
)
@click.option(
    "--kind",
    type=click.Choice(["farm", "openssh"]),
    default="farm",
    show_default=True,
    help="Simulated executors, or hosts with OpenSSH in networks of their own: 500 at most, and root.",
)
@click.option("--wait", help="Seconds for which a farm's executors work, uniform.  [default: 5-20]")
@click.option(
    "--faults", type=float, help="Share of a farm's executors that are broken or hostile.  [default: 0]"
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed, the same fleet.")
@click.option("--warm", is_flag=True, help="Run an epoch before that is not measured.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def command(
    *,
    executors: int,
    rtt: str,
    kind: str,
    wait: str | None,
    faults: float | None,
    seed: int,
    warm: bool,
    as_json: bool,
) -> int:
    """Run one epoch of the real flow over a fleet of simulated executors, and tell what it took."""
    console = make_console(stderr=as_json)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"  {time.monotonic() - began:5.1f} s  {text}", markup=False, highlight=False)

    lines = PhaseLines(console)
    has_hosts = kind == "openssh"
    conditions = _of_hosts(rtt, wait, faults, seed) if has_hosts else _of_farm(rtt, wait, faults, seed)
    asked = Asked(executors, conditions, is_warm=warm, has_hosts=has_hosts)
    told = run_fleet(
        folder_of(os.environ) / "fleet", asked, say, lambda phases: lines.show(phases, datetime.now(UTC))
    )
    if as_json:
        click.echo(json.dumps(told.to_json(), indent=1))
    else:
        show_told(console, told)
    return 1 if told.incidents else 0


def _of_farm(rtt: str, wait: str | None, faults: float | None, seed: int) -> Conditions:
    try:
        return Conditions(seed, rtt_of(rtt), wait_of(wait or "5-20"), faults or 0.0, is_line_bounded=True)
    except ValueError:
        raise SettingError(
            "rtt or wait", f"{rtt}, {wait}", "`far` or milliseconds, and seconds as in 5-20"
        ) from None


def _of_hosts(rtt: str, wait: str | None, faults: float | None, seed: int) -> Conditions:
    """Real machines work as long as they work: SettingError for what only a farm simulates."""
    for name, asked in (("wait", wait), ("faults", faults)):
        if asked:
            raise SettingError(name, f"{asked}", "none, with hosts: only a farm simulates it")
    return replace(_of_farm(rtt, "0", 0.0, seed), is_line_bounded=False)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """The command, with its errors in one sentence each; SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(command.main(standalone_mode=False) or 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SubnetError as error:
        click.echo(f"Error: {error}", err=True)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
