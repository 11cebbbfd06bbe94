"""`subnet market renter`: who may rent."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from deployments.histories import json_option
from deployments.operating import day, known_renter, own_database, show_json, show_table, words
from deployments.renting.quantities import seconds_of, usd
from storage.convert import row_of
from storage.deposits import Deposits
from storage.money import Money
from storage.renter import Renter, RenterState, Scope
from storage.renters import Renters
from tasks.errors import SettingError
from tasks.renting.api_keys import new_key
from tasks.renting.deposits import invite
from tasks.renting.money import renter as account_of
from tasks.renting.operators import allow_renter, stop_renter

DEFAULT_GRACE = "1h"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z", re.ASCII)


@click.group()
def command() -> None:
    """Add renters, list them, stop one with a reason and a grace, allow it again.

    \b
    Examples:
      subnet market renter add ada
      subnet market renter list --json
    """


@command.command()
@click.argument("name")
@json_option
def add(*, name: str, as_json: bool) -> None:
    """Add a renter and print its first API key, which may do everything. It is shown once and kept nowhere.

    A renter that is there already is left as it is, exit code 2: `subnet market key add` makes it a further key.

    \b
    Examples:
      subnet market renter add ada
      subnet market renter add ada | tail -1 | subnet rent login
    """
    if not _NAME.match(name):
        raise SettingError("NAME", name[:60], "up to 40 of a-z, 0-9 and -, no dash in front")
    now = datetime.now(UTC)
    text, key = new_key(name, "first", [Scope.ADMIN], now)
    with own_database() as engine:
        renters = Renters(engine)
        if not renters.add(Renter(name, now)) and renters.keys(name):
            raise SettingError(
                "NAME", name, "a name that no renter has: `subnet market key add` makes a further key"
            )
        # A crash before this line leaves a renter without a key: typed again, it gets one.
        renters.add_key(key, now)
        memo = invite(Deposits(engine), name)
    if as_json:
        show_json({"renter_id": name, "key_id": key.key_id, "api_key": text, "memo": memo})
        return
    click.echo(
        f"renter {name} is added; the memo of its deposits is {memo}. Its API key, shown this once:", err=True
    )
    click.echo(text)


@command.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List renters with their balance and whether they may rent.

    \b
    Examples:
      subnet market renter list
    """
    with own_database() as engine:
        renters, balances = Renters(engine).all(), Money(engine).balances()
    if as_json:
        show_json(
            [row_of(r) | {"balance_micro_usd": balances.get(account_of(r.renter_id), 0)} for r in renters]
        )
        return
    rows = [
        (
            renter.renter_id,
            usd(balances.get(account_of(renter.renter_id), 0)),
            day(renter.created_at),
            "may rent"
            if renter.state is RenterState.ALLOWED
            else f"stopped, grace until {day(renter.grace_until)}",
            renter.reason,
        )
        for renter in renters
    ]
    show_table("Renters", ("renter", "USD", "since", "state", "reason"), rows, "there are no renters yet")


@command.command()
@click.argument("name")
@click.option("--reason", required=True, help="The renter reads it.")
@click.option(
    "--grace", default=DEFAULT_GRACE, show_default=True, help="How long what runs may go on, e.g. 30m."
)
@click.option("--now", "is_now", is_flag=True, help="No grace: end what runs at once.")
@json_option
def stop(*, name: str, reason: str, grace: str, is_now: bool, as_json: bool) -> None:
    """Let a renter start nothing new, and end what it runs after the grace: settled to the second, containers gone then.

    Typed again, the newer reason and grace count.

    \b
    Examples:
      subnet market renter stop ada --reason "mines coins" --grace 1h
      subnet market renter stop ada --reason "attacks others" --now
    """
    now = datetime.now(UTC)
    until = now if is_now else now + timedelta(seconds=seconds_of("--grace", grace))
    with own_database() as engine:
        known_renter(engine, name)
        leases = stop_renter(engine, name, now, words("--reason", reason), until) or ()
    names = [lease.lease_id for lease in leases]
    if as_json:
        show_json({"renter_id": name, "state": "stopped", "grace_until": until, "leases": names})
        return
    running = f"{len(names)} leases end" if names else "nothing runs that would end"
    click.echo(f"renter {name} starts nothing more; {running} at {until:%Y-%m-%d %H:%M:%S} UTC")


@command.command()
@click.argument("name")
@json_option
def allow(*, name: str, as_json: bool) -> None:
    """Let a stopped renter rent again. What has ended does not come back.

    \b
    Examples:
      subnet market renter allow ada
    """
    with own_database() as engine:
        known_renter(engine, name)
        allow_renter(engine, name, datetime.now(UTC))
    if as_json:
        show_json({"renter_id": name, "state": "allowed"})
        return
    click.echo(f"renter {name} may rent")
