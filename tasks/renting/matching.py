"""Which machines fit a wish, at which price, in the order in which they are tried. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from storage.rental import Offer, Rental, Wish
from tasks.policy import RentingPolicy
from tasks.renting.pricing import Demand, quote


class Candidate(NamedTuple):
    """A machine that fits, with the cards that would be held."""

    offer: Offer
    card_uuids: tuple[str, ...]
    micro_usd_per_hour: int
    """For these cards, in the wish's mode."""


def candidates(
    rental: Rental,
    offers: Iterable[Offer],
    held: Mapping[str, str],
    policy: RentingPolicy | None = None,
    demand: Mapping[str, Demand] | None = None,
) -> tuple[Candidate, ...]:
    """All that fit, the best first: least price for what it proved, then the most reliable, then by name.

    `held` maps the UUIDs of cards that some lease holds to that lease; `demand` says by model how many are, for spot prices.
    """
    fit = (
        candidate
        for offer in offers
        if offer.executor_key not in rental.tried
        and _fits(rental.wish, offer)
        and (candidate := _candidate(rental, offer, held, policy or RentingPolicy(), demand or {}))
    )
    return tuple(sorted(fit, key=_rank))


def _candidate(
    rental: Rental,
    offer: Offer,
    held: Mapping[str, str],
    policy: RentingPolicy,
    demand: Mapping[str, Demand],
) -> Candidate | None:
    cards = _cards(rental.wish, offer, held)
    if cards is None:
        return None
    price = quote(
        rental.wish,
        offer.micro_usd_per_card_hour,
        len(cards),
        demand.get(offer.model, Demand()),
        policy,
        cap_micro_usd=rental.terms.cap_micro_usd,
    )
    return None if price.refusal else Candidate(offer, cards, price.micro_usd_per_hour)


def _cards(wish: Wish, offer: Offer, held: Mapping[str, str]) -> tuple[str, ...] | None:
    """The cards that would be held; None when there are too few free ones. A whole machine is free or it is not."""
    free = tuple(uuid for uuid in offer.card_uuids if uuid not in held)
    if wish.card_count == 0:
        return free if free and len(free) == len(offer.card_uuids) else None
    if wish.card_count < min(offer.min_cards, len(offer.card_uuids)):
        return None
    return free[: wish.card_count] if len(free) >= wish.card_count else None


def _fits(wish: Wish, offer: Offer) -> bool:
    return (
        wish.executor_key in ("", offer.executor_key)
        and wish.model in ("", offer.model)
        and wish.region in ("", offer.region)
        and offer.vram_gib >= wish.min_vram_gib
        and offer.performance >= wish.min_performance
        and offer.reliability >= wish.min_reliability
    )


def _rank(candidate: Candidate) -> tuple[float, float, int, str]:
    """Fewer cards left over go first among equals, so that whole machines stay whole."""
    offer = candidate.offer
    price = candidate.micro_usd_per_hour / len(candidate.card_uuids)
    left = len(offer.card_uuids) - len(candidate.card_uuids)
    return price / max(offer.performance, 0.01), -offer.reliability, left, offer.executor_key
