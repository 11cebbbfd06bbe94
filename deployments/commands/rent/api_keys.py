"""`subnet rent api-keys`: keys for programs and people, each with what it may do."""

from __future__ import annotations

from datetime import timedelta

import click

from deployments.renting.desk import Desk, verb
from deployments.renting.look import Column, show_items, when
from deployments.renting.quantities import seconds_of
from deployments.renting.wire import Document, moment, text, texts
from deployments.renting.wishes import checked_id

API_KEYS = (
    Column("key", lambda k: text(k, "key_id")),
    Column("name", lambda k: text(k, "name")),
    Column("may", lambda k: " ".join(texts(k, "scopes"))),
    Column("made (UTC)", lambda k: when(moment(k, "created_at"))),
    Column("expires", lambda k: when(moment(k, "expires_at"))),
    Column("revoked", lambda k: when(moment(k, "revoked_at"))),
    Column("last used", lambda k: when(moment(k, "last_used_at"))),
)


@click.group()
def command() -> None:
    """Make, list, rotate and revoke API keys. It takes a key with the scope `admin`.

    \b
    Examples:
      subnet rent api-keys add ci --scope read --scope rent --expires 30d
      subnet rent api-keys rotate 5b1e0c2d9f3a4c77
    """


@command.command()
@verb
def ls(desk: Desk) -> None:
    """List your API keys, ended ones too, without their secrets.

    \b
    Examples:
      subnet rent api-keys ls
    """
    with desk.open() as client:
        items = list(client.pages("/v1/api-keys"))
    if desk.is_json:
        desk.answer({"items": items})
        return
    show_items(API_KEYS, items, "no API keys")


@command.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", type=click.Choice(["read", "rent", "money", "admin"]), multiple=True, required=True
)
@click.option("--expires", help="After this time, e.g. 30d; never if not given.")
@verb
def add(desk: Desk, *, name: str, scopes: tuple[str, ...], expires: str | None) -> None:
    """Make a key and print it alone on standard output: it is shown this once.

    \b
    Examples:
      subnet rent api-keys add ci --scope read --scope rent --expires 30d > ci.key
    """
    until = None if expires is None else desk.now() + timedelta(seconds=seconds_of("--expires", expires))
    body: Document = {
        "name": name,
        "scopes": list(scopes),
        "expires_at": until.isoformat() if until else None,
    }
    with desk.open() as client:
        # Where the answer is lost the secret is, too: a repetition would make another key beside one that nobody has.
        made = client.post("/v1/api-keys", body, is_repeatable=False)
    desk.say(f"API key {text(made, 'key_id')}, shown this once:")
    desk.answer(made, text(made, "token"))


@command.command()
@click.argument("key_id")
@click.option("--overlap", help="How long the old one goes on, e.g. 10m; an hour if not given.")
@verb
def rotate(desk: Desk, *, key_id: str, overlap: str | None) -> None:
    """Make a new key in the place of an old one, which goes on for a while. The new one is shown this once.

    \b
    Examples:
      subnet rent api-keys rotate 5b1e0c2d9f3a4c77 --overlap 10m > ci.key
    """
    body: Document = {} if overlap is None else {"overlap_s": seconds_of("--overlap", overlap)}
    with desk.open() as client:
        path = f"/v1/api-keys/{checked_id('KEY_ID', key_id)}/rotate"
        made = client.post(path, body, is_repeatable=False)
    desk.say(f"API key {text(made, 'key_id')}, shown this once:")
    desk.answer(made, text(made, "token"))


@command.command()
@click.argument("key_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb
def revoke(desk: Desk, *, key_id: str, yes: bool) -> None:
    """Let a key end at once. One that has ended is no mistake.

    \b
    Examples:
      subnet rent api-keys revoke 5b1e0c2d9f3a4c77 --yes
    """
    name = checked_id("KEY_ID", key_id)
    desk.is_sure(f"Revoke API key {name}?", is_yes=yes)
    with desk.open() as client:
        was = client.drop(f"/v1/api-keys/{name}")
    desk.answer({"key_id": name, "was_there": was}, f"{name}: {'revoked' if was else 'had ended already'}")
