"""The moves of a lease: lawful ones only. Pure: a lease and a moment become the lease after the move.

requested -> reserved -> provisioning -> active <-> stopped
^           |             |            |           |
|           +--- next ----+            +-- ending -+-> ended
+----- machine ------------            requested, reserved, provisioning -> ending | failed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from storage.rental import Offer, Party, Rental, RentalState
from tasks.errors import MoveRefused

R = RentalState
LAWFUL: Mapping[RentalState, frozenset[RentalState]] = MappingProxyType(
    {
        R.REQUESTED: frozenset({R.RESERVED, R.FAILED, R.ENDED}),
        R.RESERVED: frozenset({R.PROVISIONING, R.REQUESTED, R.FAILED, R.ENDED}),
        R.PROVISIONING: frozenset({R.ACTIVE, R.REQUESTED, R.ENDING, R.FAILED}),
        R.ACTIVE: frozenset({R.STOPPED, R.ENDING}),
        R.STOPPED: frozenset({R.ACTIVE, R.ENDING}),
        R.ENDING: frozenset({R.ENDED}),
        R.ENDED: frozenset(),
        R.FAILED: frozenset(),
    }
)
HOLDS = frozenset({R.RESERVED, R.PROVISIONING, R.ACTIVE, R.STOPPED, R.ENDING})
"""In these states cards are held for the lease, and for nobody else."""
CLOSED = frozenset({R.ENDED, R.FAILED})


def moved(rental: Rental, to: RentalState, now: datetime, **changes: object) -> Rental:
    """The lease after a move; MoveRefused when there is no such way."""
    if to not in LAWFUL[rental.state]:
        raise MoveRefused(rental.lease_id, rental.state.value, to.value)
    return replace(rental, state=to, version=rental.version + 1, moved_at=now, **changes)  # type: ignore[arg-type]


def reserved(rental: Rental, offer: Offer, card_uuids: tuple[str, ...], now: datetime) -> Rental:
    """With these cards of an offer held for it, at the offer's price of this moment."""
    price = offer.micro_usd_per_card_hour * len(card_uuids)
    return moved(
        rental,
        R.RESERVED,
        now,
        executor_key=offer.executor_key,
        card_uuids=card_uuids,
        micro_usd_per_hour=price,
    )


def let_go(rental: Rental, now: datetime, reason: str) -> Rental:
    """Wanted again, without the machine that failed it: that one is not tried a second time."""
    return moved(
        rental,
        R.REQUESTED,
        now,
        tried=(*rental.tried, rental.executor_key),
        executor_key="",
        card_uuids=(),
        micro_usd_per_hour=0,
        reason=reason,
    )


def handed_over(rental: Rental, now: datetime) -> Rental:
    """Usable: from this moment the renter pays."""
    return moved(rental, R.ACTIVE, now, active_at=rental.active_at or now, reason="")


def failed(rental: Rental, now: datetime, party: Party, reason: str) -> Rental:
    """Given up before it was ever handed over: nothing is charged."""
    return moved(rental, R.FAILED, now, ended_at=now, party=party, reason=reason)


def ending(rental: Rental, now: datetime, party: Party = Party.NOBODY, reason: str = "") -> Rental:
    """To be torn down: it is paid until this moment, whatever the teardown takes."""
    return moved(rental, R.ENDING, now, ended_at=now, party=party, reason=reason)


def ended(rental: Rental, now: datetime) -> Rental:
    """Nothing of it is left on the machine; a lease that held none ends at once."""
    return moved(rental, R.ENDED, now, ended_at=rental.ended_at or now)
