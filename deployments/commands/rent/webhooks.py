"""`subnet rent webhooks`: addresses that are told what happens."""

from __future__ import annotations

import click

from deployments.renting.desk import Desk, verb
from deployments.renting.look import Column, show_items, when
from deployments.renting.wire import integer, moment, short_lease, text, texts
from deployments.renting.wishes import checked_id

WEBHOOKS = (
    Column("webhook", lambda w: text(w, "webhook_id")),
    Column("url", lambda w: text(w, "url")),
    Column("events", lambda w: " ".join(texts(w, "kinds")) or "all"),
    Column("state", lambda w: "told" if w.get("is_enabled") is True else "disabled"),
    Column("failing since", lambda w: when(moment(w, "failing_since"))),
)
DELIVERIES = (
    Column("delivery", lambda d: text(d, "delivery_id")),
    Column("event", lambda d: text(d, "kind")),
    Column("lease", lambda d: short_lease(text(d, "lease_id"))),
    Column("state", lambda d: text(d, "state")),
    Column("tries", lambda d: str(integer(d, "attempts"))),
    Column("HTTP", lambda d: str(integer(d, "http_status") or "-")),
    Column("next (UTC)", lambda d: when(moment(d, "next_at"))),
    Column("fault", lambda d: text(d, "fault") or "-"),
)


@click.group()
def command() -> None:
    """Have an address told what happens to your leases: signed, and tried again for a day.

    \b
    Examples:
      subnet rent webhooks add https://hooks.example.com/leases --event ACTIVE --event ENDED
      subnet rent webhooks deliveries 51c0
    """


@command.command()
@verb
def ls(desk: Desk) -> None:
    """List your webhooks.

    \b
    Examples:
      subnet rent webhooks ls
    """
    with desk.open() as client:
        items = list(client.pages("/v1/webhooks"))
    if desk.is_json:
        desk.answer({"items": items})
        return
    show_items(WEBHOOKS, items, "no webhooks")


@command.command()
@click.argument("url")
@click.option("--event", "kinds", multiple=True, metavar="KIND", help="E.g. ACTIVE; all if none is given.")
@verb
def add(desk: Desk, *, url: str, kinds: tuple[str, ...]) -> None:
    """Add an address. The secret that signs its deliveries stands alone on standard output, this once.

    \b
    Examples:
      subnet rent webhooks add https://hooks.example.com/leases --event ACTIVE --event ENDED > hook.secret
    """
    with desk.open() as client:
        made = client.post("/v1/webhooks", {"url": url, "kinds": list(kinds)}, is_repeatable=False)
    desk.say(f"webhook {text(made, 'webhook_id')}; its secret, shown this once:")
    desk.answer(made, text(made, "secret"))


@command.command()
@click.argument("webhook_id", metavar="WEBHOOK")
@verb
def enable(desk: Desk, *, webhook_id: str) -> None:
    """Tell an address again that was disabled after days of failures: of what happens from now on.

    \b
    Examples:
      subnet rent webhooks enable 51c0
    """
    with desk.open() as client:
        made = client.patch(f"/v1/webhooks/{checked_id('WEBHOOK', webhook_id)}", {"is_enabled": True})
    desk.answer(made, f"{webhook_id}: told from now on")


@command.command()
@click.argument("webhook_id", metavar="WEBHOOK")
@verb
def rotate(desk: Desk, *, webhook_id: str) -> None:
    """Change the secret that signs deliveries; the new one is shown this once.

    \b
    Examples:
      subnet rent webhooks rotate 51c0 > hook.secret
    """
    with desk.open() as client:
        made = client.post(f"/v1/webhooks/{checked_id('WEBHOOK', webhook_id)}/rotate", {})
    desk.answer(made, text(made, "secret"))


@command.command()
@click.argument("webhook_id", metavar="WEBHOOK")
@verb
def deliveries(desk: Desk, *, webhook_id: str) -> None:
    """List what was sent to an address, and how that went.

    \b
    Examples:
      subnet rent webhooks deliveries 51c0
    """
    with desk.open() as client:
        items = list(client.pages(f"/v1/webhooks/{checked_id('WEBHOOK', webhook_id)}/deliveries", most=200))
    if desk.is_json:
        desk.answer({"items": items})
        return
    show_items(DELIVERIES, items, "nothing was sent yet")


@command.command()
@click.argument("webhook_id", metavar="WEBHOOK")
@verb
def rm(desk: Desk, *, webhook_id: str) -> None:
    """Tell an address no more. One that is not there is no mistake.

    \b
    Examples:
      subnet rent webhooks rm 51c0
    """
    name = checked_id("WEBHOOK", webhook_id)
    with desk.open() as client:
        was = client.drop(f"/v1/webhooks/{name}")
    desk.answer({"webhook_id": name, "was_there": was}, f"{name}: {'removed' if was else 'is not there'}")
