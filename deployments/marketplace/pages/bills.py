"""A score as a bill: factor by factor to what it comes to, each with what it means. Pure.

bill_of(score, shadow) -> parts, each a product of lines; what the parts come to, summed, is the score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from storage.records import Reason, Score
from tasks.scoring.bills import IDLE_TERMS, LEASED_TERMS, TERMS, total_of

MEANING: Mapping[str, str] = MappingProxyType(
    {
        "rate_usd_per_hour": "what the market pays for one card of the model, USD an hour",
        "card_count": "cards that were listed",
        "idle_cards": "cards that nobody leases",
        "performance": "memory bandwidth of the slowest card, as proved, over the model's; at most 0.75 for a model that too few have proved",
        "bandwidth": "the line: 0.5 at the least that is asked for, 1 from 1,000 Mbit/s on",
        "uptime": "unbroken passing: little for a newcomer, 1 after the policy's days",
        "isolation": "1 with a container runtime that keeps a renter from the host (sysbox, Kata, gVisor)",
        "idle_isolation": "the same, for the cards that are idle",
        "collateral": "1 where what is locked or deposited covers the machine",
        "occupancy": "1 while idle; leased: the emission's part beside the rent",
        "price": "less for a declared price far above the market's",
        "capacity": "idle cards that are paid over those that are there, of its model and shape",
        "passed": "1 where inspection, proof and bans let it be paid, else 0",
        "portion": "the model's share of the emission",
        "card_share": "its cards over all counted cards of the model",
        "driver": "0 with a driver that is too old",
        "programme": "1 where the idle programme takes its model and number of cards",
    }
)
_COUNTS = frozenset({"rate_usd_per_hour", "card_count", "idle_cards", "portion", "card_share"})
"""What only says how much there is: below 1 nothing is lost by it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One factor."""

    term: str
    meaning: str
    value: float
    so_far: float
    """The product up to here."""
    is_shadow: bool
    """Computed, and left out of the product."""
    is_loss: bool
    """Below 1 where 1 is to be had."""


@dataclass(frozen=True, slots=True)
class Part:
    """A product of factors."""

    title: str
    lines: tuple[Line, ...]
    pool: tuple[float, float] | None
    """Of a score that is a share: the pool's part of the emission, and all machines' points in it."""
    comes_to: float


@dataclass(frozen=True, slots=True)
class Bill:
    """What a score is made of."""

    parts: tuple[Part, ...]
    unit: str
    is_kept: bool
    """The machine had no verdict, and kept the score that it had before: the lines come to something else."""

    @property
    def largest_loss(self) -> Line | None:
        """The factor that costs most, of a machine that is paid."""
        losses = [line for part in self.parts if part.comes_to > 0 for line in part.lines if line.is_loss]
        return min(losses, key=lambda line: line.value, default=None)


def bill_of(score: Score, shadow: Iterable[str] = ()) -> Bill:
    """The bill; `shadow` are the terms that the policy leaves out."""
    left_out = frozenset(shadow)
    if score.formula == "lium-2026":
        parts = tuple(
            Part(title, lines, (pool, total), pool * points / total)
            for title, terms, pool, points, total in (
                ("leased cards", LEASED_TERMS, score.leased_pool, score.leased_points, score.leased_total),
                ("idle cards", IDLE_TERMS, score.idle_pool, score.idle_points, score.idle_total),
            )
            for lines in (_lines(score, terms, left_out),)
        )
    else:
        lines = _lines(score, TERMS[score.formula], left_out)
        parts = (Part("", lines, None, lines[-1].so_far),)
    is_kept = score.score != total_of(score, left_out)
    return Bill(parts, "USD/h" if score.formula == "default" else "of the emission", is_kept)


def _lines(score: Score, terms: Iterable[str], left_out: frozenset[str]) -> tuple[Line, ...]:
    lines, so_far = [], 1.0
    for term in terms:
        value, is_shadow = float(getattr(score, term)), term in left_out
        so_far = so_far if is_shadow else so_far * value
        is_loss = not is_shadow and term not in _COUNTS and value < 1.0
        lines.append(Line(term, MEANING[term], value, so_far, is_shadow, is_loss))
    return tuple(lines)


def ordered(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Those that cost the pay first: failures, then what kept a verdict away, then warnings, then what is in shadow."""
    return tuple(sorted(reasons, key=lambda one: (one.is_shadow, not one.fails, not one.decides)))
