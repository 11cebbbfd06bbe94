"""`subnet show`: an epoch of the archive again."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import click
from rich.console import Console

from deployments.epochs import read_outcome
from deployments.localnet.layout import Layout
from deployments.sites import folder_of, load_dotenv
from deployments.view import as_json, cell, make_console, show_epoch, weight_table
from flows.settings import read_settings
from storage.database import migrate, open_database
from storage.history import read_epoch
from storage.records import EpochOutcome
from tasks.errors import SettingError
from tasks.scoring.reading import terms_of

MAX_EPOCH = 2**48


@click.command()
@click.option(
    "--epoch", type=click.IntRange(0, MAX_EPOCH), help="The epoch's number; the newest when it is not given."
)
@click.option("--miner", help="Only this hotkey's machines, each with its whole bill.")
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object instead of tables.")
def command(*, epoch: int | None, miner: str | None, as_json_: bool) -> None:
    """Show an archived epoch: every machine with its verdict and score, all reasons with their mend, the weights.

    \b
    Examples:
      subnet show
      subnet show --epoch 31 --json
      subnet show --miner 5GnLMr...
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
            "--epoch",
            "newest" if epoch is None else str(epoch),
            "an epoch that was run; `subnet epoch` runs one",
        )
    if miner is not None:
        outcome = of_miner(outcome, miner)
    if as_json_:
        click.echo(json.dumps(as_json(outcome, {"parquet": str(settings.history)}), indent=2, default=str))
        return
    console = make_console()
    show_epoch(console, outcome)
    if miner is not None:
        show_bills(console, outcome)
    landed = outcome.weight_outcome.landed if outcome.weight_outcome else ()
    console.print(weight_table((), outcome.weights.targets if outcome.weights else (), landed, None))


def of_miner(outcome: EpochOutcome, hotkey: str) -> EpochOutcome:
    """The epoch as far as it concerns one miner; SettingError when it was not asked in it."""
    replies = tuple(reply for reply in outcome.replies if reply.hotkey == hotkey)
    if not replies:
        asked = ", ".join(reply.hotkey for reply in outcome.replies[:20]) or "no miner was asked"
        raise SettingError("--miner", hotkey, f"a miner of epoch {outcome.epoch}: {asked}")
    mine = frozenset(executor.key for executor in outcome.executors if executor.miner_hotkey == hotkey)
    return replace(
        outcome,
        replies=replies,
        executors=tuple(e for e in outcome.executors if e.key in mine),
        reports=tuple(r for r in outcome.reports if r.executor_key in mine),
        verdicts=tuple(v for v in outcome.verdicts if v.executor_key in mine),
        scores=tuple(s for s in outcome.scores if s.executor_key in mine),
    )


def show_bills(console: Console, outcome: EpochOutcome) -> None:
    """Every term of every score, and what scoring itself has to say."""
    for score in outcome.scores:
        terms = ", ".join(f"{name} {value:.6g}" for name, value in terms_of(score).items())
        name = score.executor_key.partition("/")[2]
        console.print(cell(f"{name}: score {score.score:.6f} = {terms}"), soft_wrap=True)
        for reason in score.reasons:
            weight = "in shadow" if reason.is_shadow else reason.severity.value.replace("_", " ")
            line = f"  {reason.code} ({weight}): got {reason.got}; wanted {reason.wanted}. {reason.mend}"
            console.print(cell(line), soft_wrap=True)
