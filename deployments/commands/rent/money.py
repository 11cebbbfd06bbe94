"""`subnet rent balance`, `deposit`, `invoices`, `bill`: a renter's money."""

from __future__ import annotations

import re

import click

from deployments.renting.desk import Desk, find_lease, lease_argument, verb
from deployments.renting.look import Column, show_items, show_table
from deployments.renting.quantities import duration, usd
from deployments.renting.wire import Document, integer, moment, parts, text
from tasks.errors import SettingError

LINES = (
    Column("at (UTC)", lambda line: f"{at:%Y-%m-%d %H:%M:%S}" if (at := moment(line, "at")) else "-"),
    Column("kind", lambda line: text(line, "kind")),
    Column("USD", lambda line: usd(integer(line, "micro_usd"))),
    Column("what", lambda line: text(line, "message")),
)
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])\Z", re.ASCII)


@click.command()
@verb
def balance(desk: Desk) -> None:
    """Show what you have, what your leases cost an hour, and how long it lasts.

    \b
    Examples:
      subnet rent balance
    """
    with desk.open() as client:
        found = client.get("/v1/balance")
    if desk.is_json:
        desk.answer(found)
        return
    click.echo(f"{usd(integer(found, 'micro_usd'))} USD")
    if integer(found, "micro_usd_per_hour"):
        rate, lasts_s = usd(integer(found, "micro_usd_per_hour")), integer(found, "lasts_s")
        click.echo(f"{rate} USD/h are being used; it lasts {duration(lasts_s)}")


@click.command()
@verb
def deposit(desk: Desk) -> None:
    """Show where to transfer TAO to, and with what memo, so that it becomes your balance.

    \b
    Examples:
      subnet rent deposit
    """
    with desk.open() as client:
        found = client.get("/v1/deposit")
    if desk.is_json:
        desk.answer(found)
        return
    if not text(found, "address"):
        click.echo("this market takes no deposits from the chain; its operator credits renters")
        return
    for name in ("address", "memo", "network"):
        if text(found, name):
            click.echo(f"{name:<9}{text(found, name)}")
    click.echo(f"{'counts':<9}after {integer(found, 'confirmations')} blocks")
    if text(found, "how"):
        click.echo(text(found, "how", 2_000))


@click.command()
@click.option("--month", help="One month, with its leases: 2026-08.")
@verb
def invoices(desk: Desk, *, month: str | None) -> None:
    """Show your account month by month (UTC), or one month by leases.

    \b
    Examples:
      subnet rent invoices
      subnet rent invoices --month 2026-08 --json
    """
    if month is not None and not _MONTH.match(month):
        raise SettingError("--month", month[:20], "a month like 2026-08")
    with desk.open() as client:
        items = [
            item for item in client.pages("/v1/invoices", most=240) if month in (None, text(item, "month"))
        ]
    if desk.is_json:
        desk.answer({"items": items})
        return
    names = ("opening", "deposited", "credited", "charged", "closing")
    rows = [(text(i, "month"), *(usd(integer(i, f"{n}_micro_usd")) for n in names)) for i in items]
    show_table(("month", *(f"{name} USD" for name in names)), rows, "no invoices: nothing was paid yet")
    if month is not None:
        leases = [
            (text(one, "lease_id"), usd(integer(one, "micro_usd")))
            for i in items
            for one in parts(i, "leases")
        ]
        show_table(("lease", "USD"), leases, "no leases in this month")


@click.command()
@lease_argument()
@verb
def bill(desk: Desk, *, lease: str) -> None:
    """Show what a lease cost, line by line, and what is used but not charged yet.

    \b
    Examples:
      subnet rent bill 3f9a
    """
    with desk.open() as client:
        found = client.get(f"/v1/leases/{find_lease(client, lease).lease_id}/bill")
    if desk.is_json:
        desk.answer(found)
        return
    show_items(LINES, parts(found, "lines"), "no lines yet")
    click.echo(
        f"{_paid(found)} USD charged, {usd(integer(found, 'unbilled_micro_usd'))} USD used and not charged yet"
    )


def _paid(bill_: Document) -> str:
    return usd(-integer(bill_, "micro_usd"))
