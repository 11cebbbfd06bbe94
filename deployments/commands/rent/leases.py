"""`subnet rent ps`, `show`, `events`, `rm`: a renter's leases."""

from __future__ import annotations

from itertools import islice

import click

from deployments.renting.client import Client
from deployments.renting.desk import (
    Desk,
    complete_leases,
    find_lease,
    follow,
    lease_argument,
    verb,
)
from deployments.renting.following import until_closed
from deployments.renting.look import Column, lines_of, plural, ready_lines, show_items, show_leases, when
from deployments.renting.quantities import usd
from deployments.renting.wire import Document, Lease, moment, number, part, text
from tasks.errors import SettingError

CLOSE_S = 120.0


def _what(event: Document) -> str:
    """An event's message; of a step its name, how it stands and how long it took."""
    facts = part(event, "facts")
    if text(event, "kind") != "STEP":
        return text(event, "message")
    took = f", {number(facts, 'seconds'):.1f} s" if "seconds" in facts else ""
    return f"{text(facts, 'name')} {text(facts, 'state')}{took}"


EVENTS = (
    Column("at (UTC)", lambda e: f"{at:%Y-%m-%d %H:%M:%S}" if (at := moment(e, "at")) else "-"),
    Column("event", lambda e: text(e, "kind")),
    Column("what", _what),
)


@click.command()
@click.option("--all", "is_all", is_flag=True, help="Also those that have ended.")
@click.option("--state", help="Only those in this state, e.g. active.")
@verb
def ps(desk: Desk, *, is_all: bool, state: str | None) -> None:
    """List your leases: what they cost so far, when they end.

    \b
    Examples:
      subnet rent ps
      subnet rent ps --all --json
    """
    with desk.open() as client:
        items = list(islice(client.pages("/v1/leases", {"limit": 100, "state": state}), 1_000))
    leases = [lease for lease in map(Lease.of, items) if is_all or state or not lease.is_closed]
    if desk.is_json:
        desk.answer({"items": [lease.document for lease in leases]})
        return
    show_leases(leases, desk.now())


@click.command()
@lease_argument()
@verb
def show(desk: Desk, *, lease: str) -> None:
    """Show one lease: its state and steps, its cost, how to reach it, why it ended.

    \b
    Examples:
      subnet rent show 3f9a
      subnet rent show 3f9a --json | jq -r .access.ssh_command
    """
    with desk.open() as client:
        found = find_lease(client, lease)
    if desk.is_json:
        desk.answer(found.document)
        return
    for line in lines_of(found, desk.now()):
        click.echo(line)
    if found.state == "active":
        for line in ready_lines(found):
            click.echo(f"reach    {line}")


@click.command()
@lease_argument()
@click.option("--follow", "-f", "is_followed", is_flag=True, help="Go on until the lease has ended.")
@verb
def events(desk: Desk, *, lease: str, is_followed: bool) -> None:
    """Show what happened to a lease, oldest first. With --json and --follow: one JSON object a line.

    \b
    Examples:
      subnet rent events 3f9a
      subnet rent events 3f9a --follow --json
    """
    with desk.open() as client:
        found = find_lease(client, lease)
        path = f"/v1/leases/{found.lease_id}/events"
        if not is_followed:
            items = list(islice(client.pages(path), 10_000))
            if desk.is_json:
                desk.answer({"items": items})
            else:
                show_items(EVENTS, items, "nothing has happened yet")
            return
        follow(desk, client.stream(path, {"follow": True}), "lease", _tell_event)


def _tell_event(event: Document) -> None:
    click.echo("  ".join(column.cell(event) for column in EVENTS))


@click.command()
@click.argument("leases", nargs=-1, metavar="LEASE...", shell_complete=complete_leases)
@click.option("--all", "is_all", is_flag=True, help="All that have not ended.")
@click.option("--detach", is_flag=True, help="Do not wait until nothing of them is left on the machines.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@verb
def rm(desk: Desk, *, leases: tuple[str, ...], is_all: bool, detach: bool, yes: bool) -> None:
    """End leases: they are paid until now. Containers go, and with them all that is in no volume.

    A lease that has ended already is no mistake: exit code 0.

    \b
    Examples:
      subnet rent rm 3f9a
      subnet rent rm 3f9a 51c0 --yes --detach
      subnet rent rm --all
    """
    if bool(leases) == is_all:
        raise SettingError("LEASE", "--all too" if leases else "none", "names of leases, or --all")
    with desk.open() as client:
        found = _meant(client, leases)
        going = [lease for lease in found if not lease.is_closed]
        if going:
            names = ", ".join(lease.short for lease in going[:10])
            desk.is_sure(
                f"End {plural(len(going), 'lease')} ({names}{', ...' if len(going) > 10 else ''})?",
                is_yes=yes,
            )
        for lease in going:
            client.delete(f"/v1/leases/{lease.lease_id}")
        if going and not detach:
            desk.say(
                "nothing is paid any more; waiting until nothing of it is left (Ctrl-C: it goes on without you)"
            )
        after = [_after(client, lease, wait_s=0.0 if detach else CLOSE_S) for lease in found]
    if desk.is_json:
        desk.answer({"items": [lease.document for lease in after]})
        return
    for lease in after:
        until = when(lease.ended_at or lease.end_asked_at)
        cost = usd(lease.cost_micro_usd)
        click.echo(f"{lease.lease_id}: {lease.standing}, {cost} USD, paid until {until} UTC")
    if not after:
        click.echo("no leases")


def _meant(client: Client, names: tuple[str, ...]) -> list[Lease]:
    if names:
        found = [find_lease(client, name) for name in names]
        return list({lease.lease_id: lease for lease in found}.values())
    leases = map(Lease.of, islice(client.pages("/v1/leases", {"limit": 100}), 10_000))
    return [lease for lease in leases if not lease.is_closed]


def _after(client: Client, lease: Lease, wait_s: float) -> Lease:
    """How it stands after it was asked to end; until it has ended, for so long."""
    now = lease if lease.is_closed else Lease.of(client.get(f"/v1/leases/{lease.lease_id}"))
    return until_closed(client, now, wait_s) if wait_s else now
