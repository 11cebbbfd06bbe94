"""`subnet epoch`: one validation epoch, watched from outside while it works."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import click
from rich.console import Console

from deployments.epochs import EpochResult, run_epoch
from deployments.sites import Site, open_site
from deployments.view import PhaseLines, as_json, make_console, show_epoch, weight_table
from storage.records import Severity


@click.command()
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object instead of tables.")
def command(*, as_json_: bool) -> int:
    """Run one validation epoch of the network that .env names, or of the local subnet when there is no .env.

    \b
    Examples:
      subnet epoch
      subnet epoch --json | jq '.executors[] | {executor, verdict, score}'
    """
    console = make_console(stderr=as_json_)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"  {time.monotonic() - began:5.1f} s  {text}", markup=False, highlight=False)

    with open_site(say) as site:
        lines = PhaseLines(console)
        result = run_epoch(site, lambda phases: lines.show(phases, datetime.now(UTC)), say)
        if as_json_:
            click.echo(json.dumps(as_json(result.outcome, _addresses(site, result)), indent=2, default=str))
        else:
            _show(console, site, result)
    return 1 if any(i.severity is not Severity.WARN for i in result.outcome.incidents) else 0


def _show(console: Console, site: Site, result: EpochResult) -> None:
    show_epoch(console, result.outcome)
    vector, landed = result.outcome.weights, result.outcome.weight_outcome
    console.print(
        weight_table(
            result.weights_before,
            vector.targets if vector else (),
            landed.landed if landed else (),
            result.view,
        )
    )
    for name, address in _addresses(site, result).items():
        console.print(f"{name:9} {address}", soft_wrap=True, markup=False, highlight=False)


def _addresses(site: Site, result: EpochResult) -> dict[str, object]:
    lives = "" if site.server.child is None else " (opens while `make up` runs)"
    return {"parquet": str(site.settings.history), "prefect": result.run_url + lives}
