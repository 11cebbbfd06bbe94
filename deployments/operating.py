"""What operators' commands share: the database of the settings, and words that others will read."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import click
import sqlalchemy as sa
from rich.box import SIMPLE_HEAD
from rich.table import Table

from deployments.histories import own_settings
from deployments.hygiene import printable
from deployments.view import make_console
from storage.database import migrate, open_database
from storage.renter import Renter
from storage.renters import Renters
from tasks.errors import SettingError


@contextmanager
def own_database() -> Iterator[sa.Engine]:
    """The database that the settings name, with all its tables."""
    engine = open_database(own_settings().database_url)
    try:
        migrate(engine)
        yield engine
    finally:
        engine.dispose()


def known_renter(engine: sa.Engine, renter_id: str) -> Renter:
    """The renter of this name; SettingError when there is none."""
    found = Renters(engine).get(renter_id)
    if found is None:
        raise SettingError("RENTER", renter_id[:60], "a renter's name: `subnet market renter list` has them")
    return found


def words(key: str, value: str) -> str:
    """1 to 200 printable characters that a renter may read."""
    if not 1 <= len(value.strip()) <= 200 or not value.isprintable():
        raise SettingError(key, value[:60], "1 to 200 printable characters")
    return value.strip()


def who(by: str | None) -> str:
    """Who decides something: the user's name if nobody is named."""
    return words("--by", by or getpass.getuser())


def show_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], nothing: str) -> None:
    """A table of text; `nothing` when there are no rows."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(printable(text).replace("[", r"\[") for text in row))
    if table.row_count:
        make_console().print(table)
    else:
        click.echo(nothing)


def show_json(document: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(document, indent=2, default=_plain))


def day(moment: datetime | None) -> str:
    """A moment for a table, UTC."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)
