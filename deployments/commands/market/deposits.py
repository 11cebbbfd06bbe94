"""`subnet market deposits`: what came to the deposit address, and whose it is."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

from deployments.histories import json_option, own_settings
from deployments.operating import day, known_renter, own_database, show_json, show_table
from deployments.renting.quantities import usd
from flows.policies import named_policy
from storage.convert import row_of
from storage.deposits import ChainDeposit, Deposits, DepositState
from tasks.errors import SettingError
from tasks.renting import deposits as rules

RAO = 10**9
_EXTRINSIC = re.compile(r"\d{1,12}-\d{1,6}\Z", re.ASCII)


@click.group()
def command() -> None:
    """Show what came to the deposit address on the chain, and say whose a transfer without a known memo is.

    \b
    Examples:
      subnet market deposits list --unclaimed
      subnet market deposits claim 4183022-7 ada
    """


@command.command("list")
@click.option("--unclaimed", is_flag=True, help="Only those that wait for a renter.")
@click.option("--renter", "renter_id", help="Only this renter's.")
@json_option
def list_(*, unclaimed: bool, renter_id: str | None, as_json: bool) -> None:
    """List transfers, oldest first: credited, or what they wait for.

    \b
    Examples:
      subnet market deposits list
      subnet market deposits list --unclaimed --json
    """
    with own_database() as engine:
        kept = Deposits(engine)
        if renter_id is not None:
            known_renter(engine, renter_id)
            found = kept.of_renter(renter_id)
        else:
            found = kept.unclaimed() if unclaimed else kept.all()
    found = tuple(one for one in found if not unclaimed or one.state is DepositState.UNCLAIMED)
    if as_json:
        show_json([row_of(one) | {"memos": list(one.memos)} for one in found])
        return
    rows = [
        (
            one.extrinsic_id,
            day(one.at),
            one.sender,
            f"{one.rao / RAO:.9g}",
            one.renter_id or "-",
            usd(one.micro_usd) if one.micro_usd else "-",
            one.state.value,
            one.waits_for or "-",
        )
        for one in found
    ]
    headings = ("extrinsic", "at (UTC)", "from", "TAO", "renter", "USD", "state", "waits for")
    show_table("Deposits", headings, rows, "no deposits")


@command.command()
@click.argument("extrinsic")
@click.argument("renter_id", metavar="RENTER")
@json_option
def claim(*, extrinsic: str, renter_id: str, as_json: bool) -> None:
    """Say whose a transfer is that waits; it is credited at once where its price is known. Credited ones stay as they are.

    \b
    Examples:
      subnet market deposits claim 4183022-7 ada
    """
    if not _EXTRINSIC.match(extrinsic):
        raise SettingError("EXTRINSIC", extrinsic[:60], "BLOCK-INDEX, as the list has it")
    settings = own_settings()
    with own_database() as engine:
        known_renter(engine, renter_id)
        desk = rules.desk_of(engine, settings.history, named_policy(settings.policy).renting)
        found = rules.claim(desk, extrinsic, renter_id, datetime.now(UTC))
    if found is None:
        raise SettingError("EXTRINSIC", extrinsic, "one that `subnet market deposits list` has")
    if as_json:
        show_json(row_of(found) | {"memos": list(found.memos)})
        return
    click.echo(f"{extrinsic}: {_standing(found)}")


def _standing(found: ChainDeposit) -> str:
    if found.state is DepositState.CREDITED:
        return f"{usd(found.micro_usd)} USD credited to {found.renter_id}"
    return f"{found.renter_id}'s, not credited yet: {found.waits_for or 'it is looked at within a minute'}"
