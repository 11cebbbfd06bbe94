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

from storage.rental import Access, Mode, Offer, Party, Rental, RentalState
from tasks.errors import MoveRefused
from tasks.renting.metering import paid_seconds

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
HOLDS = frozenset({R.RESERVED, R.PROVISIONING, R.ACTIVE})
"""In these states cards are held for the lease, and for nobody else."""
HOLDS_NOTHING = frozenset({R.REQUESTED, R.ENDED, R.FAILED})
"""Stopped, and ending after it, a lease holds its cards if it is a reserved one."""
CLOSED = frozenset({R.ENDED, R.FAILED})


def moved(rental: Rental, to: RentalState, now: datetime, **changes: object) -> Rental:
    """The lease after a move; MoveRefused when there is no such way."""
    if to not in LAWFUL[rental.state]:
        raise MoveRefused(rental.lease_id, rental.state.value, to.value)
    return replace(rental, state=to, version=rental.version + 1, moved_at=now, **changes)  # type: ignore[arg-type]


def _from(rental: Rental, state: RentalState, wanted: str) -> None:
    if rental.state is not state:
        raise MoveRefused(rental.lease_id, rental.state.value, wanted)


def noted(rental: Rental, now: datetime, **changes: object) -> Rental:
    """The lease where it stands, with something about it changed: a version of its own; MoveRefused when it is over."""
    if rental.state in CLOSED:
        raise MoveRefused(rental.lease_id, rental.state.value, "changed")
    return replace(rental, version=rental.version + 1, moved_at=now, **changes)  # type: ignore[arg-type]


def reserved(
    rental: Rental,
    offer: Offer,
    card_uuids: tuple[str, ...],
    now: datetime,
    micro_usd_per_hour: int | None = None,
) -> Rental:
    """With these cards of an offer held for it, by default at the offer's price of this moment."""
    listed = offer.micro_usd_per_card_hour * len(card_uuids)
    return moved(
        rental,
        R.RESERVED,
        now,
        executor_key=offer.executor_key,
        card_uuids=card_uuids,
        is_holding=True,
        micro_usd_per_hour=listed if micro_usd_per_hour is None else micro_usd_per_hour,
        attempt=rental.attempt + 1,
        reason="",
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
        is_holding=False,
        micro_usd_per_hour=0,
        access=None,
        reason=reason,
    )


def handed_over(rental: Rental, now: datetime, access: Access | None = None) -> Rental:
    """Usable: from this moment the renter pays."""
    _from(rental, R.PROVISIONING, "handed over")
    return moved(
        rental,
        R.ACTIVE,
        now,
        access=access or rental.access,
        active_at=rental.active_at or now,
        paid_from=now,
        reason="",
    )


def paying_until(rental: Rental, at: datetime) -> dict[str, object]:
    """The changes that close the paid interval at this moment; none when nothing is being paid."""
    if rental.paid_from is None:
        return {}
    return {"paid_s": paid_seconds(rental, at), "paid_from": None}


def stopped(rental: Rental, now: datetime, reason: str = "") -> Rental:
    """Its container stands still: nothing is paid and its cards are free, unless they are reserved for its hours."""
    is_reserved = rental.wish.mode is Mode.RESERVED
    paid = {} if is_reserved else paying_until(rental, now)
    return moved(rental, R.STOPPED, now, stopped_at=now, is_holding=is_reserved, reason=reason, **paid)


def rehold(rental: Rental, now: datetime) -> Rental:
    """Still stopped, with its cards held again, to be started."""
    _from(rental, R.STOPPED, "started")
    return noted(rental, now, is_holding=True)


def unhold(rental: Rental, now: datetime) -> Rental:
    """Still stopped, its cards free again: the start did not succeed."""
    _from(rental, R.STOPPED, "kept stopped")
    return noted(rental, now, is_holding=rental.wish.mode is Mode.RESERVED)


def started(rental: Rental, now: datetime, access: Access | None = None) -> Rental:
    """Usable again, with its cards held: paid again from this moment."""
    _from(rental, R.STOPPED, "started")
    return moved(
        rental,
        R.ACTIVE,
        now,
        access=access or rental.access,
        stopped_at=None,
        is_holding=True,
        paid_s=paid_seconds(rental, now),
        paid_from=now,
        reason="",
    )


def end_asked(rental: Rental, now: datetime, party: Party, reason: str) -> Rental:
    """To be ended: nothing is paid from this moment on. Whoever works on it sees that it was moved."""
    return noted(
        rental, now, end_asked_at=now, end_party=party, end_reason=reason, **paying_until(rental, now)
    )


def failed(rental: Rental, now: datetime, party: Party, reason: str) -> Rental:
    """Given up before it was ever handed over: nothing is charged, and its secrets are forgotten."""
    return moved(
        rental, R.FAILED, now, ended_at=now, is_holding=False, party=party, reason=reason, sealed=b""
    )


def ending(rental: Rental, now: datetime, party: Party = Party.NOBODY, reason: str = "") -> Rental:
    """To be torn down: it is paid until this moment, or that at which its end was asked for, whatever the teardown takes."""
    if rental.end_asked_at is not None:
        party, reason = rental.end_party, rental.end_reason
    at = rental.end_asked_at or now
    return moved(rental, R.ENDING, now, ended_at=at, party=party, reason=reason, **paying_until(rental, at))


def ended(rental: Rental, now: datetime, **changes: object) -> Rental:
    """Nothing of it is left on the machine, nor of its secrets with us; a lease that held none ends at once."""
    return moved(
        rental,
        R.ENDED,
        now,
        ended_at=rental.ended_at or rental.end_asked_at or now,
        is_holding=False,
        sealed=b"",
        **changes,
    )
