"""`subnet market key`: the API keys of renters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from deployments.histories import json_option
from deployments.operating import day, known_renter, own_database, show_json, show_table, words
from deployments.renting.quantities import seconds_of
from storage.convert import row_of
from storage.renter import Scope
from storage.renters import Renters
from tasks.errors import SettingError
from tasks.renting.api_keys import ended, new_key

SCOPES = [scope.value for scope in Scope]


@click.group()
def command() -> None:
    """Make, list and revoke renters' API keys; renters with an admin key do the same with `subnet rent api-keys`.

    \b
    Examples:
      subnet market key add ada --name ci --scope read --scope rent --expires 30d
      subnet market key revoke ada 5b1e0c2d9f3a4c77
    """


@command.command()
@click.argument("renter")
@click.option("--name", default="operator", show_default=True, help="To know it again.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    help="What it may do; everything if none is given.",
)
@click.option("--expires", help="After this time, e.g. 30d; never if not given.")
@json_option
def add(*, renter: str, name: str, scopes: tuple[str, ...], expires: str | None, as_json: bool) -> None:
    """Make a key and print it: it is shown once and kept nowhere.

    \b
    Examples:
      subnet market key add ada
      subnet market key add ada --name ci --scope read --scope rent --expires 30d
    """
    now = datetime.now(UTC)
    until = None if expires is None else now + timedelta(seconds=seconds_of("--expires", expires))
    text, key = new_key(renter, words("--name", name), [Scope(s) for s in scopes or ("admin",)], now, until)
    with own_database() as engine:
        known_renter(engine, renter)
        Renters(engine).add_key(key, now)
    if as_json:
        show_json({"renter_id": renter, "key_id": key.key_id, "api_key": text, "expires_at": until})
        return
    click.echo(f"API key {key.key_id} of renter {renter}, shown this once:", err=True)
    click.echo(text)


@command.command("list")
@click.argument("renter")
@json_option
def list_(*, renter: str, as_json: bool) -> None:
    """List a renter's keys, ended ones too; no secret is kept that could be shown.

    \b
    Examples:
      subnet market key list ada
    """
    with own_database() as engine:
        known_renter(engine, renter)
        keys = Renters(engine).keys(renter)
    if as_json:
        show_json([row_of(key, "digest") | {"scopes": list(key.scopes)} for key in keys])
        return
    now = datetime.now(UTC)
    rows = [
        (
            k.key_id,
            k.name,
            " ".join(k.scopes),
            day(k.created_at),
            day(k.expires_at),
            day(k.last_used_at),
            ended(k, now) or "lives",
        )
        for k in keys
    ]
    headings = ("key", "name", "may", "made", "expires", "last used", "state")
    show_table(f"API keys of {renter}", headings, rows, f"renter {renter} has no API key")


@command.command()
@click.argument("renter")
@click.argument("key_id")
@json_option
def revoke(*, renter: str, key_id: str, as_json: bool) -> None:
    """Let a key end at once. Exit code 0, also when it has ended already.

    \b
    Examples:
      subnet market key revoke ada 5b1e0c2d9f3a4c77
    """
    now = datetime.now(UTC)
    with own_database() as engine:
        known_renter(engine, renter)
        renters = Renters(engine)
        if key_id not in {key.key_id for key in renters.keys(renter)}:
            raise SettingError(
                "KEY_ID", key_id[:60], f"a key of {renter}: `subnet market key list {renter}` has them"
            )
        is_new = renters.revoke_key(renter, key_id, now)
    if as_json:
        show_json({"renter_id": renter, "key_id": key_id, "is_new": is_new})
        return
    click.echo(f"key {key_id}: {'revoked' if is_new else 'had ended already'}")
