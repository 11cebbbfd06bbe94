"""What an operator does to a renter: stop it, with a reason and a grace for what runs, and allow it again.

Stopped, a renter starts nothing more at once. What runs is told of it and ends when the grace is over, at the next look
(`tasks/renting/limits.py`), and is settled like any end of the renter's own: what was used is paid, what was committed is
paid in part, the rest of the balance stays its own.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from storage.rental import Happening, Mode, Party, Rental
from storage.rentals import Rentals
from storage.renter import Renter, RenterState
from storage.renters import Renters
from tasks.renting.asking import ask_end, change
from tasks.renting.moves import CLOSED, noted


def stop_renter(
    engine: sa.Engine, renter_id: str, now: datetime, reason: str, grace_until: datetime
) -> tuple[Rental, ...] | None:
    """Stop it; the leases that end when the grace is over. None when there is no such renter. Repeated: the newer counts."""
    if not Renters(engine).stop(renter_id, now, reason, grace_until):
        return None
    rentals = Rentals(engine)
    return tuple(_noticed(rentals, lease, now, grace_until, reason) for lease in _open(rentals, renter_id))


def allow_renter(engine: sa.Engine, renter_id: str, now: datetime) -> bool:
    """Let it rent again; what still runs goes on. False when there is no such renter."""
    if not Renters(engine).allow(renter_id):
        return False
    rentals = Rentals(engine)
    for lease in _open(rentals, renter_id):
        if lease.notice_until is not None and lease.wish.mode is not Mode.SPOT:
            change(
                rentals, lease.lease_id, lambda one: _without_notice(one, now), [Happening("NOTICE_LIFTED")]
            )
    return True


def end_stopped(engine: sa.Engine, now: datetime) -> tuple[str, ...]:
    """End what renters still have whose grace is over, handed over or not; the leases whose end was asked for now."""
    rentals, asked = Rentals(engine), []
    for renter in Renters(engine).due(now):
        for lease in _open(rentals, renter.renter_id):
            if lease.end_asked_at is None:
                ask_end(rentals, lease.lease_id, now, Party.RENTER, stop_reason(renter))
                asked.append(lease.lease_id)
    return tuple(asked)


def may_rent(renter: Renter | None) -> bool:
    """Whether a renter may start anything now."""
    return renter is not None and renter.state is RenterState.ALLOWED


def stop_reason(renter: Renter) -> str:
    """Why its leases end, in words that it may read."""
    return f"an operator stopped the renter: {renter.reason}"


def _open(rentals: Rentals, renter_id: str) -> tuple[Rental, ...]:
    return tuple(lease for lease in rentals.open() if lease.renter_id == renter_id)


def _noticed(rentals: Rentals, lease: Rental, now: datetime, grace_until: datetime, reason: str) -> Rental:
    def rule(one: Rental) -> Rental:
        is_over = one.state in CLOSED or one.end_asked_at is not None
        if is_over or one.notice_until == grace_until or one.wish.mode is Mode.SPOT:
            return one  # a spot lease may have a notice of its own, which is the shorter one
        return noted(one, now, notice_until=grace_until)

    told = Happening("NOTICE", f"an operator stopped the renter: {reason}")
    return change(rentals, lease.lease_id, rule, [told]) or lease


def _without_notice(lease: Rental, now: datetime) -> Rental:
    if lease.state in CLOSED or lease.end_asked_at is not None or lease.notice_until is None:
        return lease
    return noted(lease, now, notice_until=None)
