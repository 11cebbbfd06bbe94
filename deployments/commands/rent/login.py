"""`subnet rent login`, `logout`, `whoami`: the API key on this computer."""

from __future__ import annotations

import sys

import click

from deployments.renting.account import checked_key, forget_login, is_local, save_login
from deployments.renting.desk import Desk, verb
from deployments.renting.wire import text, texts


@click.command()
@verb
def command(desk: Desk) -> None:
    """Keep an API key for a market: read from standard input, tried, and written where only you can read it.

    The key is never an argument: those are seen by everybody on this computer and kept in your shell's history. The
    market is `--api` or SUBNET_API; without both it is the local one of `subnet up`. A later command talks to the market
    of the last login unless it is told another, and a key is sent only to the market it was kept for.

    \b
    Examples:
      subnet rent login --api https://market.example            asks for the key
      subnet rent login --api https://market.example < key.txt
      subnet market renter add ada | subnet rent login          on the local market
    """
    market = desk.market
    typed = click.prompt("API key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read(4096)
    key = checked_key(str(typed))
    with desk.open(market, key) as client:
        me = client.get("/v1/me")
    save_login(desk.environment, market, key, is_local=is_local(desk.environment, market))
    scopes = ", ".join(texts(me, "scopes"))
    desk.answer(me, f"logged in to {market.url} as {text(me, 'renter_id')}, with a key for {scopes}")


@click.command()
@verb
def logout(desk: Desk) -> None:
    """Remove the market's key from this computer. It stays valid: `subnet rent api-keys revoke` ends it.

    \b
    Examples:
      subnet rent logout
    """
    market = desk.market
    was = forget_login(desk.environment, market)
    done = "the key is removed" if was else "no key was kept"
    desk.answer({"api": market.url, "was_kept": was}, f"{market.url}: {done}")


@click.command()
@verb
def whoami(desk: Desk) -> None:
    """Show which market you talk to, as whom, and what your key may do.

    \b
    Examples:
      subnet rent whoami
    """
    market = desk.market
    with desk.open(market) as client:
        me = client.get("/v1/me")
    scopes = ", ".join(texts(me, "scopes"))
    desk.answer(
        {"api": market.url, **me},
        f"{market.url}: {text(me, 'renter_id')}, {text(me, 'state')}, with a key for {scopes}",
    )
    if text(me, "reason") and not desk.is_json:
        click.echo(f"stopped by the operator: {text(me, 'reason')}")
