"""Spot leases give way: to who wants their cards at the full price, and when the going price rises above their bid.

    a wish that no free cards meet -> the fewest spot leases of one machine whose cards would -> a notice for each

Who gives way is the machine that loses least: the fewest leases, then the lowest bids, then the youngest. A lease that has
its notice already counts as gone, so that a wish that waits asks for no second machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from storage.rental import Happening, Mode, Offer, Rental, RentalState
from storage.rentals import Rentals
from tasks.policy import RentingPolicy
from tasks.renting.asking import change
from tasks.renting.matching import candidates
from tasks.renting.moves import noted
from tasks.renting.pricing import PPM, Demand, spot_ppm


class Yield(NamedTuple):
    """A machine that would meet a wish, and the leases that give way for it."""

    executor_key: str
    leases: tuple[Rental, ...]
    """Those without a notice yet; none: all that has to go is going, and the wish only waits."""


def giving_way(
    wanted: Rental, offers: Iterable[Offer], held: Mapping[str, str], leases: Iterable[Rental]
) -> Yield | None:
    """Who gives way to a lease that found no free cards; None when it is a spot lease itself, or nobody can."""
    if wanted.wish.mode is Mode.SPOT:
        return None
    spot = {
        lease.lease_id: lease
        for lease in leases
        if lease.wish.mode is Mode.SPOT and lease.state is RentalState.ACTIVE
    }
    found = (_on(wanted, offer, held, spot) for offer in offers)
    return min((one for one in found if one is not None), key=_loss, default=None)


def outbid(rental: Rental, offer: Offer, demand: Demand, policy: RentingPolicy) -> bool:
    """Whether the going spot price of a running spot lease's cards has risen above its bid."""
    if rental.wish.mode is not Mode.SPOT or rental.state is not RentalState.ACTIVE:
        return False
    listed = offer.micro_usd_per_card_hour * len(rental.card_uuids)
    return listed * spot_ppm(demand, policy) // PPM > rental.wish.bid_micro_usd_per_hour


def give_notice(
    rentals: Rentals, lease: Rental, now: datetime, policy: RentingPolicy, reason: str
) -> Rental | None:
    """Tell a spot lease that it ends in `spot_notice_s`; one that was told, or does not run any more, stays as it is.

    The container is told at the next look, and the lease ended at the first look after the notice.
    """
    until = now + timedelta(seconds=policy.spot_notice_s)

    def rule(one: Rental) -> Rental:
        is_over = one.state is not RentalState.ACTIVE or one.end_asked_at is not None
        return one if is_over or one.notice_until is not None else noted(one, now, notice_until=until)

    return change(rentals, lease.lease_id, rule, [Happening("NOTICE", reason)])


def _on(wanted: Rental, offer: Offer, held: Mapping[str, str], spot: Mapping[str, Rental]) -> Yield | None:
    """The leases of one machine that would have to go, those that are going first."""
    here = {held[uuid] for uuid in offer.card_uuids if held.get(uuid) in spot}
    order = sorted((spot[name] for name in here), key=_rank)
    gone: list[Rental] = []
    for lease in order:
        gone.append(lease)
        names = {one.lease_id for one in gone}
        left = {uuid: owner for uuid, owner in held.items() if owner not in names}
        if candidates(wanted, [offer], left):
            fresh = tuple(one for one in gone if one.notice_until is None)
            return Yield(offer.executor_key, fresh)
    return None


def _rank(lease: Rental) -> tuple[bool, int, float, str]:
    return (
        lease.notice_until is None,
        lease.wish.bid_micro_usd_per_hour,
        -_begin(lease).timestamp(),
        lease.lease_id,
    )


def _loss(one: Yield) -> tuple[int, int, str]:
    bids = sum(lease.wish.bid_micro_usd_per_hour for lease in one.leases)
    return len(one.leases), bids, one.executor_key


def _begin(lease: Rental) -> datetime:
    return lease.active_at or lease.moved_at
