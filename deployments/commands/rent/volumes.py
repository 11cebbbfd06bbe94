"""`subnet rent volumes`: what outlives leases."""

from __future__ import annotations

import click

from deployments.renting.desk import Desk, complete_volumes, verb
from deployments.renting.look import Column, short_machine, show_items, when
from deployments.renting.wire import integer, moment, short_lease, text
from deployments.renting.wishes import checked_name

VOLUMES = (
    Column("volume", lambda v: text(v, "name")),
    Column("machine", lambda v: short_machine(text(v, "executor_key")) or "-"),
    Column(
        "GiB", lambda v: "-" if v.get("size_bytes") is None else f"{integer(v, 'size_bytes') / (1 << 30):.2f}"
    ),
    Column("mounted by", lambda v: short_lease(text(v, "lease_id")) or "-"),
    Column("state", lambda v: text(v, "state")),
    Column("since (UTC)", lambda v: when(moment(v, "created_at"))),
)


@click.group()
def command() -> None:
    """List, make and remove volumes. One is made by the first lease that mounts it, on that machine, and stays there.

    \b
    Examples:
      subnet rent volumes ls
      subnet rent up --spec RTX4090 --volume data:/data
      subnet rent volumes rm data
    """


@command.command()
@verb
def ls(desk: Desk) -> None:
    """List your volumes.

    \b
    Examples:
      subnet rent volumes ls
    """
    with desk.open() as client:
        items = list(client.pages("/v1/volumes"))
    if desk.is_json:
        desk.answer({"items": items})
        return
    show_items(VOLUMES, items, "no volumes: `subnet rent up --volume NAME:/path` makes one")


@command.command()
@click.argument("name")
@verb
def add(desk: Desk, *, name: str) -> None:
    """Keep a volume's name; it is on no machine until a lease mounts it. The same again changes nothing.

    \b
    Examples:
      subnet rent volumes add data
    """
    with desk.open() as client:
        made = client.post("/v1/volumes", {"name": checked_name("NAME", name)})
    desk.answer(made, f"{name}: {text(made, 'state')}")


@command.command()
@click.argument("name", shell_complete=complete_volumes)
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb
def rm(desk: Desk, *, name: str, yes: bool) -> None:
    """Wipe a volume: its data are lost. One that is not there is no mistake; one that a lease has mounted stays.

    \b
    Examples:
      subnet rent volumes rm data --yes
    """
    checked_name("NAME", name)
    desk.is_sure(f"Wipe volume {name}? Its data are lost.", is_yes=yes)
    with desk.open() as client:
        was = client.drop(f"/v1/volumes/{name}")
    desk.answer({"name": name, "was_there": was}, f"{name}: {'is being wiped' if was else 'is not there'}")
