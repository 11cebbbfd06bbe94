"""Which machines fit a wish, in the order in which they are tried. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from storage.rental import Offer, Rental, Wish


class Candidate(NamedTuple):
    """A machine that fits, with the cards that would be held."""

    offer: Offer
    card_uuids: tuple[str, ...]


def candidates(rental: Rental, offers: Iterable[Offer], held: Mapping[str, str]) -> tuple[Candidate, ...]:
    """All that fit, the best first: least price for what it proved, then the most reliable, then by name.

    `held` maps the UUIDs of cards that some lease holds to that lease.
    """
    fit = (
        Candidate(offer, cards)
        for offer in offers
        if offer.executor_key not in rental.tried
        and (cards := _cards(rental.wish, offer, held)) is not None
        and _fits(rental.wish, offer, len(cards))
    )
    return tuple(sorted(fit, key=_rank))


def _cards(wish: Wish, offer: Offer, held: Mapping[str, str]) -> tuple[str, ...] | None:
    """The cards that would be held; None when there are too few free ones. A whole machine is free or it is not."""
    free = tuple(uuid for uuid in offer.card_uuids if uuid not in held)
    if wish.card_count == 0:
        return free if free and len(free) == len(offer.card_uuids) else None
    return free[: wish.card_count] if len(free) >= wish.card_count else None


def _fits(wish: Wish, offer: Offer, card_count: int) -> bool:
    price = offer.micro_usd_per_card_hour * card_count
    return (
        wish.executor_key in ("", offer.executor_key)
        and wish.model in ("", offer.model)
        and offer.vram_gib >= wish.min_vram_gib
        and (wish.max_micro_usd_per_hour == 0 or price <= wish.max_micro_usd_per_hour)
        and offer.performance >= wish.min_performance
        and offer.reliability >= wish.min_reliability
    )


def _rank(candidate: Candidate) -> tuple[float, float, int, str]:
    """Fewer cards left over go first among equals, so that whole machines stay whole."""
    offer = candidate.offer
    per_performance = offer.micro_usd_per_card_hour / max(offer.performance, 0.01)
    left = len(offer.card_uuids) - len(candidate.card_uuids)
    return per_performance, -offer.reliability, left, offer.executor_key
