"""`subnet history forget`: what is older than the policy keeps it goes; without `--yes` it is only listed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby

import click
from rich.console import Console

from deployments.histories import history_option, json_option, own_settings
from deployments.view import make_console
from storage.places import Place
from storage.retention import Forgotten, Keep, forget, forgettable
from tasks.errors import UserError

MAX_DAYS = 36_500


@click.command()
@click.option(
    "--transcripts-days",
    type=click.IntRange(1, MAX_DAYS),
    help="Keep transcripts so many days; SUBNET_KEEP_TRANSCRIPTS_DAYS when it is not given.",
)
@click.option(
    "--days",
    type=click.IntRange(1, MAX_DAYS),
    help="Keep everything so many days; SUBNET_KEEP_DAYS when not.",
)
@click.option("--yes", is_flag=True, help="Forget it; without this, only list it.")
@history_option
@json_option
def command(
    *, transcripts_days: int | None, days: int | None, yes: bool, history: Place | None, as_json: bool
) -> None:
    """Forget old days of the history: their transcripts, by far the most of it, or everything.

    By default nothing is ever forgotten. Proofs can't be verified again without their transcripts; scores and weights
    can be replayed without them. A day goes from each table in one moment, `epochs` first.

    \b
    Examples:
      subnet history forget --transcripts-days 30          what would go
      subnet history forget --transcripts-days 30 --yes
      subnet history forget                                by the settings
    """
    settings = own_settings()
    keep = Keep(
        transcripts_days or settings.keep_transcripts_days or None, days or settings.keep_days or None
    )
    if keep == Keep():
        raise UserError(
            "everything is kept for ever: give --transcripts-days or --days, or set SUBNET_KEEP_TRANSCRIPTS_DAYS"
            " or SUBNET_KEEP_DAYS"
        )
    root = history or settings.history
    old = forgettable(root, keep, datetime.now(UTC).date())
    if yes:
        for one in old:
            forget(root, one)
    if as_json:
        click.echo(json.dumps({"is_done": yes, "forgotten": [asdict(one) for one in old]}, indent=2))
    else:
        _show(make_console(), old, is_done=yes)


def _show(console: Console, old: Sequence[Forgotten], *, is_done: bool) -> None:
    by_day = sorted(old, key=lambda one: (one.day, one.what))
    for (day, what), found in groupby(by_day, key=lambda one: (one.day, one.what)):
        console.print(f"{day}  {what}  {sum(one.bytes for one in found) / 1e6:.1f} MB", soft_wrap=True)
    if not old:
        console.print("Nothing is old enough to be forgotten.")
    elif not is_done:
        console.print("Nothing was forgotten: --yes does it.")
