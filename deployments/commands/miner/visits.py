"""`subnet miner visits`: who came to the agent's door, and what came of it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from deployments.miner.config_option import config_option
from deployments.miner.visits import FILE, Sought, Visit, read_visits
from deployments.view import cell, make_console
from tasks.errors import SettingError
from tasks.offering.config import load_config


@click.command()
@config_option
@click.option("--validator", default="", help="Only this hotkey's.")
@click.option("--executor", default="", help="Only of this machine.")
@click.option("--code", default="", help="Only with this outcome: GRANTED, or the code of a refusal.")
@click.option("--refused", is_flag=True, help="Only what was not granted.")
@click.option("--hours", type=click.IntRange(1, 87_600), help="Only of so many hours back.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="At most so many, the newest.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def command(
    *,
    path: Path,
    validator: str,
    executor: str,
    code: str,
    refused: bool,
    hours: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show who came to the agent's door, the newest first: each key let in with its end, each refusal with its reason.

    Refusals of those who may not enter are counted by code and written once a minute. The agent keeps the newest
    100,000 lines; it need not be running.

    \b
    Examples:
      subnet miner visits --config /etc/subnet/miner.toml
      subnet miner visits --config miner.toml --refused --hours 24
      subnet miner visits --config miner.toml --executor rack1-a --validator 5Grw... --json
    """
    config = load_config(path)
    if config.folder is None:
        raise SettingError("folder", "not set in the agent's file", 'a folder, e.g. "/var/lib/subnet-miner"')
    since_s = 0 if hours is None else int(time.time()) - hours * 3_600
    sought = Sought(validator, executor, code, refused, since_s, limit)
    found = read_visits(config.folder / FILE, sought)
    if as_json:
        click.echo(json.dumps([asdict(visit) for visit in found], indent=2))
        return
    console = make_console()
    for visit in found:
        console.print(cell(line(visit)), soft_wrap=True)
    if not found:
        click.echo("nobody came yet, of those that were asked for")


def line(visit: Visit) -> str:
    """One visit: when, what, who, where, until when or why."""
    parts = [f"{_time(visit.at_s)}  {visit.code}", visit.hotkey or "(not known)"]
    if visit.executor_id:
        parts.append(visit.executor_id)
    if visit.is_grant:
        parts.append(f"to {visit.purpose}, until {_time(visit.until_s)}")
    if visit.reason:
        parts.append(visit.reason)
    if visit.times > 1:
        parts.append(f"{visit.times} times")
    return "  ".join(parts)


def _time(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M:%S}"
