"""`subnet miner status`: what each validator last told this miner's agent."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from deployments.miner.config_option import config_option
from deployments.view import cell, make_console, short
from tasks.edges.wire import MachineResult, Results, ToldReason
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


def show(console: Console, hotkey: str, results: Results) -> None:
    """One validator's results: a line a machine, and under it what keeps it from more."""
    at = datetime.fromtimestamp(results.scored_at, UTC)
    weight = "no weights made" if results.weight is None else f"weight {results.weight:.4f}"
    line = f"validator {short(hotkey)}, epoch {results.epoch} of {at:%Y-%m-%d %H:%M} UTC, policy {results.policy}, {weight}"
    console.print(cell(line), soft_wrap=True)
    _list(console, results.reasons, "  ")
    for machine in results.machines:
        console.print(cell(f"  {machine.executor_id}: score {machine.score:.6f}"), soft_wrap=True)
        console.print(cell(f"    {terms(machine)}"), soft_wrap=True)
        if machine.resets and machine.reset_at is not None:
            at = datetime.fromtimestamp(machine.reset_at, UTC)
            line = f"    record set back {machine.resets} times, last at {at:%Y-%m-%d %H:%M} UTC: {machine.reset_code}"
            console.print(cell(line), soft_wrap=True)
        _list(console, machine.reasons, "    ")
    if results.left_out:
        console.print(f"  and {results.left_out} machines for which there was no room")


def terms(machine: MachineResult) -> str:
    """The factors of a score, as a bill."""
    return ", ".join(f"{name} {value:.4g}" for name, value in machine.terms.items())


def _list(console: Console, reasons: Iterable[ToldReason], indent: str) -> None:
    for reason in reasons:
        weight = "in shadow" if reason.is_shadow else reason.severity.replace("_", " ")
        console.print(
            cell(f"{indent}{reason.code} ({weight}): got {reason.got}; wanted {reason.wanted}"),
            soft_wrap=True,
        )
        console.print(cell(f"{indent}  {reason.mend}"), soft_wrap=True)


def _only(results: Results, executor: str | None) -> Results:
    if executor is None:
        return results
    kept = tuple(m for m in results.machines if m.executor_id == executor)
    return results.model_copy(update={"machines": kept})
