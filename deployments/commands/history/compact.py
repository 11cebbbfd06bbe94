"""`subnet history compact`: the small files of past days become few."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.text import Text

from deployments.histories import history_option, json_option, own_history
from deployments.view import cell, make_console
from storage.compaction import Folded, compact
from storage.places import Place
from storage.schemas import SCHEMAS


@click.command()
@click.option(
    "--before",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Fold days before this one, UTC; today when it is not given.",
)
@click.option(
    "--table", "tables", multiple=True, type=click.Choice(list(SCHEMAS)), help="Only this table. Repeatable."
)
@history_option
@json_option
def command(*, before: datetime | None, tables: tuple[str, ...], history: Place | None, as_json: bool) -> int:
    """Fold the files of past days, one per table and epoch, into few: one per table and day, or one per GiB of it.

    No row is hidden or doubled for a reader meanwhile, and a process that is killed leaves no work but its own to be
    done again. It can run beside the validator. Exit code 0: done. 1: a day has a file that can't be read.

    \b
    Examples:
      subnet history compact
      subnet history compact --before 2026-08-01 --table scores
      subnet history compact --history /data/history --json
    """
    day = (before or datetime.now(UTC)).date()
    done = list(compact(history or own_history(), day, tables or tuple(SCHEMAS)))
    if as_json:
        click.echo(json.dumps({"before": day.isoformat(), "folded": [asdict(f) for f in done]}, indent=2))
    else:
        _show(make_console(), done)
    return 1 if any(folded.trouble for folded in done) else 0


def _show(console: Console, done: Iterable[Folded]) -> None:
    """A line a day, and one for each that stays as it was."""
    folded = [one for one in done if not one.trouble]
    for day in sorted({one.day for one in folded}):
        console.print(f"{day}  {_sentence([one for one in folded if one.day == day])}", soft_wrap=True)
    for one in done:
        if one.trouble:
            console.print(Text.assemble((f"{one.day} {one.table}", "red"), "  ", cell(one.trouble)))
    if not done:
        console.print("Nothing to fold: every past day is folded already.")


def _sentence(folded: list[Folded]) -> str:
    files = f"{sum(f.files_before for f in folded)} files became {sum(f.files_after for f in folded)}"
    before, after = (sum(f.bytes_before for f in folded), sum(f.bytes_after for f in folded))
    return f"{files} in {len(folded)} tables, {before / 1e6:.1f} MB became {after / 1e6:.1f} MB"
