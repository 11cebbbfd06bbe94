"""`subnet market leases`: all leases that stand."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from deployments.histories import json_option
from deployments.operating import day, known_renter, own_database, show_json, show_table
from deployments.renting.quantities import usd
from storage.rental import Rental
from storage.rentals import Rentals
from tasks.renting.metering import cost_micro_usd


@click.command()
@click.option("--renter", "renter_id", help="Only this renter's, with those that have ended.")
@json_option
def command(*, renter_id: str | None, as_json: bool) -> None:
    """List leases: whose they are, on which machine, what they cost so far, why they end.

    \b
    Examples:
      subnet market leases
      subnet market leases --renter ada --json
    """
    now = datetime.now(UTC)
    with own_database() as engine:
        if renter_id is None:
            found = Rentals(engine).open()
        else:
            found = Rentals(engine).of_renter(known_renter(engine, renter_id).renter_id, newest=1_000)
    if as_json:
        show_json([_as_json(lease, now) for lease in found])
        return
    rows = [
        (
            lease.lease_id,
            lease.renter_id,
            lease.state.value,
            lease.executor_key or "-",
            str(len(lease.card_uuids)),
            usd(lease.micro_usd_per_hour),
            usd(cost_micro_usd(lease, now)),
            day(lease.active_at),
            lease.reason or "-",
        )
        for lease in found
    ]
    headings = (
        "lease",
        "renter",
        "state",
        "machine",
        "cards",
        "USD/h",
        "USD so far",
        "since (UTC)",
        "reason",
    )
    show_table("Leases", headings, rows, "no leases")


def _as_json(lease: Rental, now: datetime) -> dict[str, object]:
    return {
        "lease_id": lease.lease_id,
        "renter_id": lease.renter_id,
        "state": lease.state.value,
        "version": lease.version,
        "executor_key": lease.executor_key,
        "card_uuids": list(lease.card_uuids),
        "micro_usd_per_hour": lease.micro_usd_per_hour,
        "cost_micro_usd": cost_micro_usd(lease, now),
        "requested_at": lease.requested_at,
        "active_at": lease.active_at,
        "ended_at": lease.ended_at,
        "party": lease.party.value,
        "reason": lease.reason,
    }
