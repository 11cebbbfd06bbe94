"""Which machines have a renter now: an epoch spares them the full proof, and pays them by their rent."""

from __future__ import annotations

import sqlalchemy as sa

from storage.records import Lease
from storage.rental import Rental, RentalState
from storage.rentals import Rentals

BUSY = frozenset({RentalState.PROVISIONING, RentalState.ACTIVE, RentalState.STOPPED, RentalState.ENDING})
"""Cards that a lease in these states holds are in a renter's hands, or about to come or go."""


def running_leases(engine: sa.Engine) -> tuple[Lease, ...]:
    """All leases whose cards are in a renter's hands at this moment, or on their way there or back."""
    held = (rental for rental in Rentals(engine).open() if rental.is_holding and rental.state in BUSY)
    return tuple(lease_of(rental) for rental in held)


def lease_of(rental: Rental) -> Lease:
    """The lease as an epoch keeps it."""
    return Lease(
        lease_id=rental.lease_id,
        executor_key=rental.executor_key,
        card_uuids=rental.card_uuids,
        price_usd_per_hour=rental.micro_usd_per_hour / 1e6,
        started_at=rental.active_at or rental.moved_at,
    )
