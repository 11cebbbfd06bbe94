"""An attempt: a cheat on one claimed model with certain hardware, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tasks.proof.economics import pay
from tasks.proof.economics.claims import Claim, claim, passes, performance, proved_share
from tasks.proof.economics.hardware import Cards

HOST_USD_PER_HOUR = 0.03
"""A machine without a card that meets the inspection's minimum, for a listing that has no card of its own (estimate)."""
HOST_USD = HOST_USD_PER_HOUR * pay.EPOCH_HOURS
Round = Callable[[Cards], float]
"""Seconds of a round with this hardware."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One cheat on one claimed model; incomes are of an epoch, in USD."""

    cheat: str
    claimed: str
    hardware: str
    pass_probability: float
    """Of an epoch's proof, for each listing."""
    income_usd: float
    honest_usd: float
    """What the same outlay earns honestly."""
    why: str
    is_price_estimated: bool = False
    """Whether the outlay rests on our own estimate of a price."""

    @property
    def ratio(self) -> float:
        """Income over what the same outlay earns honestly."""
        return self.income_usd / self.honest_usd

    @property
    def outcome(self) -> pay.Outcome:
        """Whether it pays."""
        return pay.outcome(self.income_usd, self.honest_usd)


def honest_usd(cards: Cards, of: Claim) -> float:
    """What these cards earn an epoch under their own name, beside the validator like the cheat."""
    own = claim(cards.model, of.policy)
    share = proved_share(own, own.honest_round_s)
    return cards.usd_per_hour * performance(own, share) * pay.EPOCH_HOURS


def attempt(  # noqa: PLR0917  the parts of an attempt
    name: str, of: Claim, cards: Cards, round_s: float, chance: float = 1.0, said: str = ""
) -> Attempt:
    """These cards under the claimed name, when their rounds take so long; `chance` is that of passing when in time."""
    share = proved_share(of, round_s)
    is_in_time = passes(of, share)
    probability = chance if is_in_time else 0.0
    income = of.cards.model.base_price_usd_per_hour * performance(of, share) * pay.EPOCH_HOURS
    needed = "" if is_in_time else f", {of.policy.proof.min_bandwidth_share:.2f} is needed"
    return Attempt(
        cheat=name,
        claimed=of.cards.model.name,
        hardware=str(cards),
        pass_probability=probability,
        income_usd=income * pay.expected_uptime(probability, of.policy.scoring),
        honest_usd=honest_usd(cards, of),
        why=f"{share:.2f} of the bandwidth is proved{needed}{said}",
        is_price_estimated=cards.is_price_estimated,
    )


def best_attempt(  # noqa: PLR0917  the parts of an attempt
    name: str, of: Claim, candidates: Iterable[Cards], round_s: Round, chance: float = 1.0, said: str = ""
) -> Attempt:
    """The hardware that gains most for its outlay, of a published price where one gains; else the nearest to gaining.

    Where no hardware passes, that is the one whose rounds are shortest.
    """
    tried = [(attempt(name, of, c, round_s(c), chance, said), round_s(c)) for c in candidates]
    if not tried:
        return without_card(name, of, "no model in the table is such a card")
    gaining = [one for one, _ in tried if one.outcome is pay.Outcome.PAYS]
    if gaining:
        return max(gaining, key=lambda a: (not a.is_price_estimated, a.ratio))
    return max(tried, key=lambda each: (each[0].ratio, -each[1]))[0]


def same_card(name: str, of: Claim, probability: float, why: str) -> Attempt:
    """The claimed card itself, passing with this probability and proving no more than it would honestly."""
    full = honest_usd(of.cards, of)
    expected = full * pay.expected_uptime(probability, of.policy.scoring)
    return Attempt(name, of.cards.model.name, str(of.cards), probability, expected, full, why)


def without_card(name: str, of: Claim, why: str) -> Attempt:
    """A cheat that earns nothing, from a host that has no card."""
    return Attempt(name, of.cards.model.name, "no card", 0.0, 0.0, HOST_USD, why)
