"""Which columns of a score a formula multiplies, and in which order: with it anybody can add up the bill.

    default, lium-2025   score = product of the formula's terms
    lium-2026            score = leased_pool x leased_points / leased_total + idle_pool x idle_points / idle_total

Terms that the policy runs in shadow are left out of every product.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from storage.records import Score

Columns = Mapping[str, np.ndarray]

DEFAULT_TERMS = (
    *("rate_usd_per_hour", "card_count", "performance", "bandwidth", "uptime", "isolation"),
    *("collateral", "occupancy", "price", "capacity", "passed"),
)
LIUM_2025_TERMS = ("passed", "portion", "card_share", "uptime", "isolation", "collateral")
LEASED_TERMS = ("passed", "price", "portion", "card_share", "uptime", "isolation")
IDLE_TERMS = (
    *("passed", "price", "programme", "idle_cards", "rate_usd_per_hour", "capacity"),
    *("idle_isolation", "driver"),
)
TERMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "default": DEFAULT_TERMS,
        "lium-2025": LIUM_2025_TERMS,
        "lium-2026": tuple(dict.fromkeys((*LEASED_TERMS, *IDLE_TERMS))),
    }
)
"""By formula, in the order in which they are multiplied."""
_FACTS = frozenset({"rate_usd_per_hour", "card_count", "idle_cards", "passed"})
IN_SHADOW = frozenset(term for terms in TERMS.values() for term in terms) - _FACTS
"""Terms that a policy may run in shadow."""


def product(columns: Columns, terms: Iterable[str], shadow: frozenset[str]) -> np.ndarray:
    """The product of these columns, one after the other, without those in shadow."""
    first, *others = (term for term in terms if term not in shadow)
    total = columns[first].astype("float64")
    for term in others:
        total = total * columns[term]
    return total


def total_of(score: Score, shadow: Iterable[str] = ()) -> float:
    """The score that a score's own columns come to, to the last bit; a score that was kept from before has another."""
    left_out = frozenset(shadow)
    if score.formula != "lium-2026":
        return _product(score, TERMS[score.formula], left_out)
    leased = score.leased_pool * score.leased_points / score.leased_total
    return leased + score.idle_pool * score.idle_points / score.idle_total


def points_of(score: Score, shadow: Iterable[str] = ()) -> tuple[float, float]:
    """Of `lium-2026`: the leased and the idle part's product of terms."""
    left_out = frozenset(shadow)
    return _product(score, LEASED_TERMS, left_out), _product(score, IDLE_TERMS, left_out)


def _product(score: Score, terms: Iterable[str], left_out: frozenset[str]) -> float:
    total = 1.0
    for term in terms:
        if term not in left_out:
            total *= getattr(score, term)
    return total
