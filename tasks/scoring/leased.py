"""What is leased of a machine, and for how much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any, NamedTuple

import numpy as np

from storage.records import Card, Lease, Standing


class Leased(NamedTuple):
    """The leased part of a machine."""

    cards: int
    rent_usd_per_hour: float
    """Of all its leases."""
    day: int
    """On which the newest began: days since 1 January of the year 1, UTC."""


def leased_parts(
    standings: Sequence[Standing],
    cards_of: Sequence[tuple[Card, ...]],
    card_counts: Sequence[Any] | np.ndarray,
    leases: Iterable[Lease],
) -> dict[str, np.ndarray]:
    """Columns of what is leased of each machine, in the order of the standings."""
    by_machine: dict[str, list[Lease]] = {}
    for lease in leases:
        by_machine.setdefault(lease.executor_key, []).append(lease)
    cards, day = np.zeros(len(standings), "int64"), np.zeros(len(standings), "int64")
    rent = np.zeros(len(standings))
    for at, standing in enumerate(standings):
        if standing.is_leased:
            its = by_machine.get(standing.executor_key, ())
            cards[at], rent[at], day[at] = leased_of(its, cards_of[at], card_counts[at])
    return {
        "leased_cards": cards,
        "idle_cards": np.asarray(card_counts, "int64") - cards,
        "rent_usd_per_hour": rent,
        "lease_day": day,
    }


def leased_of(leases: Sequence[Lease], cards: Sequence[Card], card_count: int) -> Leased:
    """The leased part of a machine that is leased; where no lease says which cards, all of them."""
    is_whole = not leases or any(not lease.card_uuids for lease in leases)
    listed = {card.uuid for card in cards}
    rented = {uuid for lease in leases for uuid in lease.card_uuids}
    some = len(rented & listed) if listed else min(len(rented), card_count)
    return Leased(
        card_count if is_whole else min(some, card_count),
        sum(sorted(lease.price_usd_per_hour for lease in leases)),
        max((lease.started_at.astimezone(UTC).toordinal() for lease in leases), default=0),
    )
