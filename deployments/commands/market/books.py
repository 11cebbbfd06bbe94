"""`subnet market books`: the ledger, summed up anew."""

from __future__ import annotations

import click

from deployments.histories import json_option
from deployments.operating import own_database, show_json, show_table
from deployments.renting.quantities import usd
from storage.money import Money


@click.command()
@json_option
def command(*, as_json: bool) -> int:
    """Sum up every transfer of the ledger: each of them, and all together, come to zero. Exit code 1 when one does not.

    \b
    Examples:
      subnet market books
      subnet market books --json
    """
    with own_database() as engine:
        money = Money(engine)
        books, balances = money.books(), money.balances()
    if as_json:
        show_json(
            {
                "is_even": books.is_even,
                "transfers": books.transfers,
                "entries": books.entries,
                "micro_usd": books.micro_usd,
                "rao": books.rao,
                "uneven": list(books.uneven),
                "balances_micro_usd": balances,
            }
        )
    else:
        rows = [(account, usd(micro_usd)) for account, micro_usd in sorted(balances.items())]
        show_table("Accounts", ("account", "USD"), rows, "no money has moved yet")
        even = (
            "even: everything sums to zero"
            if books.is_even
            else f"NOT EVEN: {', '.join(books.uneven[:5]) or 'the whole'}"
        )
        click.echo(f"{books.transfers} transfers, {books.entries} entries; {even}")
    return 0 if books.is_even else 1
