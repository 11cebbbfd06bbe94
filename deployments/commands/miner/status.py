"""`subnet miner status`: what each validator last told this miner's agent."""

from __future__ import annotations

import json
from pathlib import Path

import click

from deployments.miner.config_option import config_option
from deployments.miner.results import show
from deployments.view import make_console
from tasks.edges.wire import Results
from tasks.errors import SettingError
from tasks.offering.config import load_config
from tasks.offering.memory import told_results


@click.command()
@config_option
@click.option("--executor", help="Only this machine.")
@click.option("--validator", help="Only what this hotkey told.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object by validator.")
def command(*, path: Path, executor: str | None, validator: str | None, as_json: bool) -> None:
    """Show the last results of every validator: the score of each machine, all its terms, all reasons with their mend.

    Validators send them at the end of an epoch, signed, and the agent keeps the last of each.

    \b
    Examples:
      subnet miner status --config /etc/subnet/miner.toml
      subnet miner status --config miner.toml --executor rack1-a --json
    """
    config = load_config(path)
    if config.folder is None:
        raise SettingError("folder", "not set in the agent's file", 'a folder, e.g. "/var/lib/subnet-miner"')
    told = {
        hotkey: _only(results, executor)
        for hotkey, results in told_results(config.folder).items()
        if validator in {None, hotkey}
    }
    if as_json:
        click.echo(json.dumps({h: r.model_dump() for h, r in told.items()}, indent=2))
        return
    console = make_console()
    for hotkey, results in sorted(told.items(), key=lambda item: -item[1].scored_at):
        show(console, hotkey, results)
    if not told:
        click.echo("no validator has told anything yet: it does at the end of its next epoch")


def _only(results: Results, executor: str | None) -> Results:
    if executor is None:
        return results
    kept = tuple(m for m in results.machines if m.executor_id == executor)
    return results.model_copy(update={"machines": kept})
