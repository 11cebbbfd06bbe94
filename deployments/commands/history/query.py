"""`subnet history query`: SQL over the history, as a table, JSON or CSV."""

from __future__ import annotations

import base64
import csv
import json
import math
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime

import click
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table

from deployments.histories import history_option, json_option, own_history
from deployments.numbers import FiniteRange
from deployments.view import cell, make_console
from storage.errors import QueryRefused
from storage.places import Place
from storage.query import Limits, query_arrow
from tasks.errors import SettingError, UserError

SHOWN_ROWS = 100
LEAST_WIDTH = 9
"""Characters that a column needs to be read as one."""
MAX_SQL_CHARACTERS = 100_000


@click.command()
@click.argument("sql")
@history_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a line of names.")
@click.option(
    "--rows", type=click.IntRange(1), default=SHOWN_ROWS, show_default=True, help="Rows shown as a table."
)
@click.option(
    "--timeout",
    "seconds",
    type=FiniteRange(0.1, 3_600),
    default=60.0,
    show_default=True,
    help="Seconds that it may take.",
)
@click.option(
    "--memory",
    "memory_mib",
    type=click.IntRange(64, 1 << 20),
    default=2_048,
    show_default=True,
    help="MiB that it may take.",
)
@json_option
def command(
    *,
    sql: str,
    history: Place | None,
    as_csv: bool,
    rows: int,
    seconds: float,
    memory_mib: int,
    as_json: bool,
) -> None:
    """Ask the history anything: one SELECT in DuckDB's SQL, or `-` to read it from standard input.

    Every table of docs/history.md is a view with all its columns and `day`; ten worked examples stand there. It only
    reads, and reaches nothing but the history. `describe scores` lists a table's columns.

    \b
    Examples:
      subnet history query "select day, count(*) as epochs from epochs group by day order by day"
      subnet history query "select model, sum(score) from scores where day = '2026-08-01' group by all" --csv
      subnet history query - --json < question.sql
    """
    if as_json and as_csv:
        raise UserError("--json and --csv exclude each other")
    asked = sys.stdin.read(MAX_SQL_CHARACTERS + 1) if sql == "-" else sql
    if len(asked) > MAX_SQL_CHARACTERS:
        raise SettingError("SQL", f"{asked[:20]}...", f"at most {MAX_SQL_CHARACTERS} characters")
    try:
        table = query_arrow(history or own_history(), asked, Limits(seconds, memory_mib << 20))
    except QueryRefused as error:
        raise UserError(f"the query can't be answered: {error}") from error
    if as_json:
        _print_json(table)
    elif as_csv:
        _print_csv(table)
    else:
        _show(make_console(), table, rows)


def _rows(table: pa.Table) -> Iterator[tuple[object, ...]]:
    for batch in table.to_batches():
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _print_json(table: pa.Table) -> None:
    rows = [[_plain(value) for value in row] for row in _rows(table)]
    click.echo(json.dumps({"columns": table.column_names, "rows": rows}))


def _print_csv(table: pa.Table) -> None:
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(table.column_names)
    shown = _harmless if sys.stdout.isatty() else str
    for row in _rows(table):
        out.writerow([shown(_text(value, nothing="")) for value in row])


def _harmless(text: str) -> str:
    """What machines say of themselves, without what a terminal would obey; a file gets it as it is."""
    return "".join(c if c.isprintable() else "\N{MIDDLE DOT}" for c in text)


def _show(console: Console, table: pa.Table, rows: int) -> None:
    """A line a row; where so many columns have no room, a block a row."""
    shown = table.slice(0, rows)
    if len(table.column_names) * LEAST_WIDTH <= console.width:
        console.print(_as_table(shown))
    else:
        for row in _rows(shown):
            console.print(_as_block(table.column_names, row))
    more = len(table) - rows
    tail = f"; {more:,} more, see --rows, --csv and --json" if more > 0 else ""
    console.print(f"{len(table):,} rows{tail}", soft_wrap=True)


def _as_table(table: pa.Table) -> Table:
    shown = Table(box=box.SIMPLE_HEAD)
    for field in table.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        shown.add_column(cell(field.name), justify="right" if is_number else "left", overflow="fold")
    for row in _rows(table):
        shown.add_row(*(cell(_text(value, nothing="-")) for value in row))
    return shown


def _as_block(names: Sequence[str], row: Sequence[object]) -> Table:
    shown = Table(box=box.SIMPLE, show_header=False)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in zip(names, row, strict=True):
        shown.add_row(cell(name), cell(_text(value, nothing="-")))
    return shown


def _text(value: object, *, nothing: str) -> str:
    if value is None:
        return nothing
    plain = _plain(value) if not isinstance(value, float) else value
    return json.dumps(plain) if isinstance(plain, list | dict) else str(plain)


def _plain(value: object) -> object:
    """What JSON can hold: times as ISO, octets as base64, a float that is no number as null."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case datetime() | date():
            return value.isoformat()
        case list() | tuple():
            return [_plain(part) for part in value]
        case dict():
            return {str(key): _plain(part) for key, part in value.items()}
        case float() if not math.isfinite(value):
            return None
    return value if isinstance(value, int | float | str | None) else str(value)
