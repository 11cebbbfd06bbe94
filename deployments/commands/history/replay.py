"""`subnet history replay`: scores and weights of archived epochs, made again from the archive alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from deployments.histories import epochs_of, history_option, json_option, own_history, span_of
from deployments.memory import memory_bounded
from deployments.view import cell, make_console
from storage.errors import HistoryDamaged, SchemaUnknown
from storage.places import Place
from storage.records import Reason
from tasks.errors import UserError
from tasks.replaying import replay_epoch
from tasks.scoring.replay import Difference, Replay, Standing

SHOWN_DIFFERENCES = 20
"""Of one epoch: one wrong rate makes every weight differ."""
_STYLES = {Standing.IDENTICAL: "green", Standing.NOTHING: "yellow"}


@click.command()
@click.option(
    "--epoch", type=click.IntRange(min=0), help="The epoch's number; the newest when none is given."
)
@click.option("--epochs", "span", help="A range, A-B, or `all`.")
@history_option
@json_option
@memory_bounded
def command(*, epoch: int | None, span: str | None, history: Place | None, as_json: bool) -> int:
    """Make the scores and weights of archived epochs again, from the archive alone, and compare them bit for bit.

    What scores are made from is archived with them: reports, verdicts, the policy's values, what earlier epochs knew
    of every machine, prices, leases, the neurons of the chain. Weights add up the archived scores since the last ones.
    Exit code 0: identical, or nothing was scored. 1: something differs or can't be replayed. 2: there is no such epoch.

    \b
    Examples:
      subnet history replay
      subnet history replay --epoch 31
      subnet history replay --epochs 20-31 --json
      subnet history replay --epochs all --history /data/history
    """
    if epoch is not None and span is not None:
        raise UserError("--epoch and --epochs exclude each other")
    root = history or own_history()
    done = [
        _replay(root, number)
        for number in epochs_of(root, epoch, *span_of(None if span == "all" else span), all_=span == "all")
    ]
    if as_json:
        click.echo(json.dumps({"epochs": [_document(one) for one in done]}, indent=2, default=str))
    else:
        _show(make_console(), done)
    return 0 if all(one.standing in _STYLES for one in done) else 1


def _replay(root: Place, number: int) -> Replay:
    try:
        return replay_epoch(root, number)
    except (HistoryDamaged, SchemaUnknown) as error:
        return Replay(number, Standing.UNKNOWN, why=str(error))


def _show(console: Console, done: Sequence[Replay]) -> None:
    """A line an epoch, and below it every value that differs."""
    for one in done:
        head = Text.assemble(
            f"epoch {one.epoch}  ",
            (one.standing, _STYLES.get(one.standing, "red")),
            "  ",
            cell(_sentence(one)),
        )
        console.print(head, soft_wrap=True)
        for line in _lines(one.differences):
            console.print(line, soft_wrap=True)


def _sentence(one: Replay) -> str:
    if one.why:
        return one.why
    compared = f"{one.scores} scores and {one.targets} weights made again"
    if not one.differences:
        return compared
    return f"{compared}, {len(one.differences)} values differ; archived by version {one.code_version}"


def _lines(differences: Sequence[Difference]) -> Iterator[Text]:
    for one in differences[:SHOWN_DIFFERENCES]:
        place = ".".join(part for part in (one.table, one.column) if part)
        values = f": archived {_value(one.archived)}, replayed {_value(one.replayed)}"
        yield Text.assemble("  ", cell(one.subject or "the epoch"), f" {place}", cell(values))
    hidden = len(differences) - SHOWN_DIFFERENCES
    if hidden > 0:
        yield Text(f"  and {hidden} more")


def _value(value: object) -> str:
    """A value in full; of reasons, their codes."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(part) for part in value) + "]"
    return value.code if isinstance(value, Reason) else str(value)


def _document(one: Replay) -> dict[str, Any]:
    return asdict(one) | {"differences": list(_differences(one.differences))}


def _differences(differences: Iterable[Difference]) -> Iterator[dict[str, Any]]:
    for one in differences:
        values = {"archived": one.archived, "replayed": one.replayed}
        plain = {k: v if isinstance(v, int | float | str | None) else _value(v) for k, v in values.items()}
        yield {"table": one.table, "subject": one.subject, "column": one.column, **plain}
