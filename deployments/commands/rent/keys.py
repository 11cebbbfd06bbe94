"""`subnet rent keys`: SSH keys that are kept for all leases, and those that one lease lets in."""

from __future__ import annotations

import re
from pathlib import Path

import click

from deployments.commands.rent.power import operated
from deployments.commands.rent.up import FILE
from deployments.renting.desk import Desk, find_lease, lease_argument, verb
from deployments.renting.look import Column, show_items, when
from deployments.renting.wire import moment, text
from deployments.renting.wishes import checked_name, public_key_of, usual_key
from tasks.errors import SettingError

KEYS = (
    Column("key", lambda k: text(k, "name")),
    Column("fingerprint", lambda k: text(k, "fingerprint")),
    Column("since (UTC)", lambda k: when(moment(k, "created_at"))),
)
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}\Z", re.ASCII)


@click.group()
def command() -> None:
    """List, keep and remove SSH keys that all your new leases let in; `grant` and `revoke` change one lease.

    \b
    Examples:
      subnet rent keys add laptop ~/.ssh/id_ed25519.pub
      subnet rent keys grant 3f9a colleague.pub
    """


@command.command()
@verb
def ls(desk: Desk) -> None:
    """List the SSH keys that are kept for you.

    \b
    Examples:
      subnet rent keys ls
    """
    with desk.open() as client:
        items = list(client.pages("/v1/ssh-keys"))
    if desk.is_json:
        desk.answer({"items": items})
        return
    show_items(KEYS, items, "no SSH keys: `subnet rent keys add NAME FILE` keeps one")


@command.command()
@click.argument("name")
@click.argument("file", type=FILE, required=False)
@verb
def add(desk: Desk, *, name: str, file: Path | None) -> None:
    """Keep a public key: that of a file, or the one in ~/.ssh. A private key is refused unread and unshown.

    \b
    Examples:
      subnet rent keys add laptop
      subnet rent keys add ci ci.pub
    """
    checked_name("NAME", name)
    found = file or usual_key(Path(desk.environment.get("HOME") or "~").expanduser())
    if found is None:
        raise SettingError("FILE", "not given", "a public key's file: there is none in ~/.ssh")
    with desk.open() as client:
        made = client.post("/v1/ssh-keys", {"name": name, "public_line": public_key_of(found)})
    desk.answer(made, f"{name}: {text(made, 'fingerprint')}")


@command.command()
@click.argument("name")
@verb
def rm(desk: Desk, *, name: str) -> None:
    """Forget a key; leases that stand let it in until it is revoked there. One that is not there is no mistake.

    \b
    Examples:
      subnet rent keys rm laptop
    """
    checked_name("NAME", name)
    with desk.open() as client:
        was = client.drop(f"/v1/ssh-keys/{name}")
    desk.answer({"name": name, "was_there": was}, f"{name}: {'forgotten' if was else 'is not there'}")


@command.command()
@lease_argument()
@click.argument("file", type=FILE)
@verb
def grant(desk: Desk, *, lease: str, file: Path) -> None:
    """Let a public key log in to a lease that runs.

    \b
    Examples:
      subnet rent keys grant 3f9a colleague.pub
    """
    line = public_key_of(file)
    with desk.open() as client:
        operation = operated(client, find_lease(client, lease), "keys", {"add": [line]}, detach=False)
    desk.answer(operation, f"{text(operation, 'lease_id')}: the key is let in")


@command.command()
@lease_argument()
@click.argument("fingerprint", metavar="SHA256:...")
@verb
def revoke(desk: Desk, *, lease: str, fingerprint: str) -> None:
    """Let a key log in to a lease no more; sessions that are open stay open.

    \b
    Examples:
      subnet rent keys revoke 3f9a SHA256:kPS1sY...
    """
    if not _FINGERPRINT.match(fingerprint):
        raise SettingError(
            "FINGERPRINT", fingerprint[:60], "SHA256: and 43 characters, as `ssh-keygen -l` shows it"
        )
    with desk.open() as client:
        operation = operated(
            client, find_lease(client, lease), "keys", {"remove": [fingerprint]}, detach=False
        )
    desk.answer(operation, f"{text(operation, 'lease_id')}: the key is let in no more")
