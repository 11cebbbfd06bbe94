"""`subnet history compare`: two validators' archives beside each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby

import click
from rich import box
from rich.console import Console
from rich.table import Table

from deployments.histories import FOLDER, json_option, span_of
from deployments.numbers import FiniteRange
from deployments.view import cell, make_console
from storage.comparison import Comparison, OtherSubnet, Varied, compare
from storage.places import Place
from tasks.errors import SettingError, UserError

SHOWN = 20
"""Machines of each table; the JSON has all."""


@click.command()
@click.argument("a", type=FOLDER)
@click.argument("b", type=FOLDER)
@click.option("--epochs", "span", help="Only this range, A-B.")
@click.option(
    "--tolerance",
    type=FiniteRange(0.0, 1.0),
    default=0.0,
    show_default=True,
    help="Numbers that differ by no more than this share of the larger are the same.",
)
@json_option
def command(*, a: Place, b: Place, span: str | None, tolerance: float, as_json: bool) -> int:
    """Lay two histories beside each other: epochs, scores with every term, verdicts, and the weights that were meant.

    Validators measure for themselves, so some terms always differ a little: see --tolerance. Exit code 0: nothing
    differs in the epochs that both have. 1: something does. 2: they have no epoch in common, or other subnets.

    \b
    Examples:
      subnet history compare .local/history /data/other-validator
      subnet history compare .local/history /data/other-validator --epochs 20-31 --tolerance 0.05
      subnet history compare .local/history /data/other-validator --json
    """
    first, last = span_of(span)
    try:
        found = compare(a, b, tolerance=tolerance, first=first or 0, last=2**62 if last is None else last)
    except OtherSubnet as error:
        raise UserError(str(error)) from error
    if not found.both:
        asked = f"of {span} " if span else ""
        raise SettingError(
            "B", str(b), f"a history with an epoch {asked}that {a} has too, and they share none"
        )
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        _show(make_console(), found)
    return 1 if found.differences else 0


def _show(console: Console, found: Comparison) -> None:
    console.print("\n".join(_head(found)), soft_wrap=True)
    for table, rows in groupby(found.differences, key=lambda one: one.table):
        listed = list(rows)
        console.print(_columns(table, listed))
        console.print(_machines(table, listed[:SHOWN]))
        if len(listed) > SHOWN:
            console.print(f"and {len(listed) - SHOWN} more: see --json", soft_wrap=True)


def _head(found: Comparison) -> Iterator[str]:
    yield (
        f"{len(found.both)} epochs in both ({found.both[0]} to {found.both[-1]}), "
        f"{len(found.only_a)} in A alone, {len(found.only_b)} in B alone"
    )
    told = (
        f"{len(found.differences)} values of machines and miners differ"
        if found.differences
        else "nothing differs"
    )
    yield f"{found.compared} scores compared: {told}"


def _columns(table: str, rows: Sequence[Varied]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, title=f"{table}: columns that differ", title_justify="left")
    for name in ("column", "machines or miners", "epochs of them", "largest", "mean"):
        shown.add_column(name, justify="left" if name == "column" else "right")
    for column, found in groupby(sorted(rows, key=lambda one: one.column), key=lambda one: one.column):
        listed = list(found)
        epochs = sum(one.epochs for one in listed)
        means = [one.mean * one.epochs for one in listed if one.mean is not None]
        largest = max((one.largest for one in listed if one.largest is not None), default=None)
        mean = sum(means) / epochs if means else None
        shown.add_row(column, str(len(listed)), str(epochs), _figure(largest), _figure(mean))
    return shown


def _machines(table: str, rows: Sequence[Varied]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, title=f"{table}: the largest", title_justify="left")
    for name in ("machine or miner", "column", "epochs", "largest", "at epoch", "A", "B"):
        shown.add_column(name, overflow="fold")
    for one in rows:
        values = (one.subject, one.column, str(one.epochs), _figure(one.largest), str(one.epoch))
        shown.add_row(*map(cell, (*values, one.a or "-", one.b or "-")))
    return shown


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
