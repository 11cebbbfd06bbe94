"""`subnet ban`: miners and cards that are not paid, whatever they prove."""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import click

from deployments.histories import json_option
from deployments.localnet.layout import Layout
from deployments.numbers import FiniteRange
from deployments.sites import folder_of, load_dotenv
from deployments.view import cell, make_console
from flows.settings import read_settings
from storage.convert import row_of
from storage.database import migrate, open_database
from storage.records import Ban, BanKind
from storage.state import State
from tasks.errors import NotAuthentic, SettingError

CARD = re.compile(r"gpu-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MAX_DAYS = 3_650.0

_SUBJECT = (
    click.option("--miner", help="A hotkey: all machines of it."),
    click.option("--card", help="A card's UUID, as `nvidia-smi -L` prints it: any machine that lists it."),
)


def _subject(function: click.decorators.FC) -> click.decorators.FC:
    for option in reversed(_SUBJECT):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Ban miners and cards, or end a ban. It holds from the next epoch on, and is archived as an event.

    A banned machine that is idle is not proved and not paid. One that is leased is inspected and proved on and its lease
    is not touched; it is not paid either, and its record keeps counting.

    \b
    Examples:
      subnet ban add --miner 5GnLMr... --reason "announces machines of others" --days 30
      subnet ban add --card GPU-5f1c... --reason "firmware lies about its memory"
      subnet ban lift --miner 5GnLMr...
      subnet ban list --json
    """


@command.command()
@_subject
@click.option("--reason", required=True, help="Shown to the miner.")
@click.option(
    "--days", type=FiniteRange(0, MAX_DAYS, min_open=True), help="Until it is lifted, if not given."
)
@click.option("--by", help="Who decides it; the user's name if not given.")
@json_option
def add(
    *, miner: str | None, card: str | None, reason: str, days: float | None, by: str | None, as_json: bool
) -> None:
    """Ban a miner or a card. Exit code 0, also when it is banned already: nothing is changed then.

    \b
    Examples:
      subnet ban add --miner 5GnLMr... --reason "announces machines of others" --days 30
    """
    kind, subject = subject_of(miner, card)
    now = datetime.now(UTC)
    until = None if days is None else now + timedelta(days=days)
    ban = Ban(kind, subject, _text("--reason", reason), now, until, _who(by))
    with _state() as state:
        is_new = state.add_ban(ban)
    if as_json:
        click.echo(json.dumps({"is_new": is_new, "ban": row_of(ban)}, indent=2, default=str))
        return
    told = f"banned {f'until {until:%Y-%m-%d %H:%M} UTC' if until else 'until it is lifted'}"
    click.echo(
        f"{kind} {subject}: {told if is_new else 'is banned already; lift it first to change the ban'}"
    )


@command.command()
@_subject
@click.option("--by", help="Who decides it; the user's name if not given.")
@json_option
def lift(*, miner: str | None, card: str | None, by: str | None, as_json: bool) -> None:
    """End a ban. Exit code 0, also when there is none.

    \b
    Examples:
      subnet ban lift --card GPU-5f1c...
    """
    kind, subject = subject_of(miner, card)
    with _state() as state:
        is_lifted = state.lift_ban(kind, subject, _who(by))
    if as_json:
        click.echo(json.dumps({"is_lifted": is_lifted, "kind": kind, "subject": subject}, indent=2))
        return
    click.echo(f"{kind} {subject}: {'lifted' if is_lifted else 'is not banned'}")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def list_(*, as_json: bool) -> None:
    """Show all bans, those that have run out too.

    \b
    Examples:
      subnet ban list
    """
    with _state() as state:
        bans = state.all_bans()
    if as_json:
        click.echo(json.dumps([row_of(ban) for ban in bans], indent=2, default=str))
        return
    console, now = make_console(), datetime.now(UTC)
    for ban in bans:
        until = f"until {ban.until:%Y-%m-%d %H:%M}" if ban.until else "until lifted"
        over = " (over)" if ban.until and ban.until <= now else ""
        line = f"{ban.kind} {ban.subject} since {ban.since:%Y-%m-%d %H:%M} {until}{over}, by {ban.banned_by}: {ban.reason}"
        console.print(cell(line), soft_wrap=True)
    if not bans:
        click.echo("nobody is banned")


def subject_of(miner: str | None, card: str | None) -> tuple[BanKind, str]:
    """Exactly one of the two, in its form."""
    if (miner is None) == (card is None):
        raise SettingError("--miner and --card", "both" if miner else "neither", "exactly one of them")
    if card is not None:
        if not CARD.fullmatch(card.lower()):
            raise SettingError("--card", card, "a UUID as `nvidia-smi -L` prints it: GPU- and 36 digits")
        return BanKind.CARD, card.lower()
    from tasks.edges.signing import check_hotkey  # noqa: PLC0415  the SDK takes a second to import

    assert miner is not None
    try:
        check_hotkey(miner)
    except NotAuthentic as error:
        raise SettingError("--miner", miner, f"a hotkey: {error.detail}") from None
    return BanKind.MINER, miner


def _text(key: str, value: str) -> str:
    if not 1 <= len(value.strip()) <= 200 or not value.isprintable():
        raise SettingError(key, value[:60], "1 to 200 printable characters")
    return value.strip()


def _who(by: str | None) -> str:
    return _text("--by", by or getpass.getuser())


@contextmanager
def _state() -> Iterator[State]:
    load_dotenv()
    settings = read_settings(os.environ)
    if settings.is_embedded:
        settings = Layout(folder_of(os.environ)).settings(os.environ)
    engine = open_database(settings.database_url)
    try:
        migrate(engine)
        yield State(engine)
    finally:
        engine.dispose()
