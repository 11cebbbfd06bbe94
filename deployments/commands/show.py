"""`subnet show`: an epoch of the archive again."""

from __future__ import annotations

import json
import os

import click

from deployments.epochs import read_outcome
from deployments.localnet.layout import Layout
from deployments.sites import folder_of, load_dotenv
from deployments.view import as_json, make_console, show_epoch, weight_table
from flows.settings import read_settings
from storage.database import migrate, open_database
from storage.history import read_epoch
from tasks.errors import SettingError

MAX_EPOCH = 2**48


@click.command()
@click.option(
    "--epoch", type=click.IntRange(0, MAX_EPOCH), help="The epoch's number; the newest when it is not given."
)
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object instead of tables.")
def command(*, epoch: int | None, as_json_: bool) -> None:
    """Show an archived epoch: every machine with its verdict and score, all reasons with their mend, the weights.

    \b
    Examples:
      subnet show
      subnet show --epoch 31 --json
    """
    load_dotenv()
    settings = read_settings(os.environ)
    if settings.is_embedded:
        settings = Layout(folder_of(os.environ)).settings(os.environ)
    engine = open_database(settings.database_url)
    migrate(engine)
    outcome = read_outcome(engine, epoch)
    if outcome is None and epoch is not None:
        outcome = read_epoch(settings.history, epoch)
    if outcome is None:
        raise SettingError(
            "--epoch", str(epoch or "newest"), "an epoch that was run; `subnet epoch` runs one"
        )
    if as_json_:
        click.echo(json.dumps(as_json(outcome, {"parquet": str(settings.history)}), indent=2, default=str))
        return
    console = make_console()
    show_epoch(console, outcome)
    landed = outcome.weight_outcome.landed if outcome.weight_outcome else ()
    console.print(weight_table((), outcome.weights.targets if outcome.weights else (), landed, None))
