"""`subnet market credit`: money that an operator gives a renter, or takes back."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

import click

from deployments.histories import json_option
from deployments.operating import known_renter, own_database, show_json, who, words
from deployments.renting.quantities import micro_usd_of, usd
from storage.money import Money
from tasks.errors import SettingError
from tasks.renting.money import granted, renter

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", re.ASCII)


@click.command()
@click.argument("renter_id", metavar="RENTER")
@click.argument("amount", metavar="USD")
@click.option("--reason", required=True, help="Stands in the ledger and on the renter's invoice.")
@click.option("--back", is_flag=True, help="Take it from the renter, as far as its balance goes.")
@click.option("--name", help="Names this credit: typed again with the same name it moves nothing.")
@click.option("--by", help="Who decides it; the user's name if not given.")
@json_option
def command(
    *, renter_id: str, amount: str, reason: str, back: bool, name: str | None, by: str | None, as_json: bool
) -> None:
    """Give a renter USD, or take them back: one line in the ledger that nothing ever changes.

    \b
    Examples:
      subnet market credit ada 50 --reason "welcome"
      subnet market credit ada 12.50 --reason "invoice 2026-017" --name invoice-2026-017
      subnet market credit ada 50 --reason "typed twice" --back
    """
    micro_usd = micro_usd_of("USD", amount)
    if name is not None and not _NAME.match(name):
        raise SettingError("--name", name[:60], "up to 64 letters, digits and ._-")
    given = -micro_usd if back else micro_usd
    message = f"{words('--reason', reason)} (by {who(by)})"
    transfer = granted(renter_id, given, name or secrets.token_hex(8), datetime.now(UTC), message)
    with own_database() as engine:
        known_renter(engine, renter_id)
        money = Money(engine)
        is_new = money.post(transfer, floor_micro_usd=0 if back else None)
        balance = money.balance(renter(renter_id))
    if as_json:
        show_json({"transfer_id": transfer.transfer_id, "is_new": is_new, "balance_micro_usd": balance})
        return
    done = (
        f"{usd(micro_usd)} USD {'taken back' if back else 'given'}"
        if is_new
        else "moved before, nothing is changed"
    )
    click.echo(f"renter {renter_id}: {done}; balance {usd(balance)} USD")
