"""What a claimed model's proof asks, and how long a cheat's hardware takes for a round of it.

    round's bytes   = W S T x 128                                                  (parameters_for the claimed model)
    honest round    = round's bytes / bandwidth
    proved share    = honest round / (real round - credit)                         at least 0.75 passes

A step reads one of n lines at random, so a share of D is read as often as it is large. What a card lacks comes from
making it anew, from the host's memory, from other cards; all sources work at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernels.protocol import LINE_BYTES, Parameters
from tasks.inspection.models import Model
from tasks.policy import Policy
from tasks.proof.challenge import parameters_for
from tasks.proof.economics.hardware import Cards, made_anew_gb_s

ADDRESS_BYTES = 8
"""What a card must be told to read its part of a line for another card's walker."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A model as it is claimed, and its proof."""

    cards: Cards
    parameters: Parameters
    policy: Policy

    @property
    def memory_bytes(self) -> int:
        """|D|."""
        return self.parameters.memory_bytes

    @property
    def round_bytes(self) -> float:
        """Read in one round."""
        return float(self.parameters.leaves * self.parameters.segment_steps * LINE_BYTES)

    @property
    def honest_round_s(self) -> float:
        """At the model's reference bandwidth."""
        return self.round_bytes / (self.cards.bandwidth_gb_s * 1e9)

    @property
    def slowest_round_s(self) -> float:
        """The longest round that still passes, the answer's way being nothing."""
        return (
            self.honest_round_s / self.policy.proof.min_bandwidth_share + self.policy.proof.latency_credit_s
        )


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a card may get the lines that it does not hold."""

    anew: bool = False
    host: bool = False
    nvlink: bool = False
    pcie: bool = False
    """From the other cards over the link to the host, which then is not free for the host's memory."""


def claim(model: Model, policy: Policy) -> Claim:
    """The model in its most common size, under this policy."""
    sku = model.skus[0]
    return Claim(Cards(model, sku), parameters_for(sku, policy.proof), policy)


def proved_share(of: Claim, round_s: float) -> float:
    """The proved bandwidth over the claimed model's reference, when every round takes so long.

    The credit for the way is for distant machines; who stands beside the validator has it for nothing. Who would be
    faster than the ceiling waits.
    """
    proof = of.policy.proof
    credited_s = round_s - min(proof.latency_credit_s, round_s / 2)
    return min(of.honest_round_s / credited_s, proof.max_bandwidth_share)


def passes(of: Claim, share: float) -> bool:
    """Whether this proved share is within the bounds."""
    return share >= of.policy.proof.min_bandwidth_share


def performance(of: Claim, share: float) -> float:
    """The term of the score for this proved share."""
    low, high = of.policy.scoring.performance_window
    return min(max(share, low), high)


def held_share(of: Claim, cards: Cards) -> float:
    """The part of D that one of these cards can hold."""
    return min(1.0, cards.usable_bytes / of.memory_bytes)


def round_by_rows_s(of: Claim, cards: Cards, sources: Sources) -> float:
    """Seconds of a round when each card holds whole lines, and walkers' states or lines move where they must.

    Infinite when a part of D comes from nowhere.
    """
    held = held_share(of, cards)
    together = min(1.0, cards.count * held)
    others_gb_s, alone_gb_s = _sources_gb_s(of, cards, sources)
    each_bytes = of.round_bytes / cards.count
    return max(
        together * each_bytes / (cards.bandwidth_gb_s * 1e9),
        _over(each_bytes * (1.0 - held), others_gb_s + alone_gb_s),
        _over(each_bytes * (1.0 - together), alone_gb_s),
    )


def round_by_columns_s(of: Claim, cards: Cards, sources: Sources) -> float:
    """Seconds of a round when each card holds its part of every line; each step's other parts cross, and its address."""
    count = cards.count
    together = min(1.0, count * held_share(of, cards))
    others_gb_s, alone_gb_s = _sources_gb_s(of, cards, sources)
    each_bytes = of.round_bytes / count
    crossing = (count - 1) / count + ADDRESS_BYTES * (count - 1) / LINE_BYTES
    return max(
        together * each_bytes / (cards.bandwidth_gb_s * 1e9),
        _over(each_bytes * crossing, others_gb_s),
        _over(each_bytes * (1.0 - together), alone_gb_s),
    )


def round_in_turn_s(of: Claim, cards: Cards, listings: int) -> float:
    """Mean seconds of a round for each of several listings that one card serves one after the other.

    The last of a round is the first of the next, whose memory is there: so place i of n has i walks and i - 1 fillings
    before its answer, and from round to round the places change ends.
    """
    walk_s = of.round_bytes / (cards.bandwidth_gb_s * 1e9)
    fill_s = of.memory_bytes / 1e9 / max(cards.host_gb_s, made_anew_gb_s(cards.model, _w(of)))
    return (listings + 1) / 2 * walk_s + (listings - 1) / 2 * fill_s


def round_shared_s(of: Claim, cards: Cards, listings: int) -> float:
    """Seconds of a round for each of several listings that share one card's memory, all else being made or fetched anew."""
    held = held_share(of, cards) / listings
    elsewhere_gb_s = sum(_sources_gb_s(of, cards, Sources(anew=True, host=True)))
    return listings * max(
        held * of.round_bytes / (cards.bandwidth_gb_s * 1e9),
        _over(of.round_bytes * (1.0 - held), elsewhere_gb_s),
    )


def _sources_gb_s(of: Claim, cards: Cards, sources: Sources) -> tuple[float, float]:
    """10^9 bytes a second for one card: from other cards, and without them."""
    others = max(cards.nvlink_gb_s if sources.nvlink else 0.0, cards.pcie_gb_s if sources.pcie else 0.0)
    anew = made_anew_gb_s(cards.model, _w(of)) if sources.anew else 0.0
    host = cards.host_gb_s if sources.host and not sources.pcie else 0.0
    return (others if cards.count > 1 else 0.0), anew + host


def _w(of: Claim) -> int:
    return of.parameters.chain_w


def _over(count_bytes: float, gb_s: float) -> float:
    if count_bytes <= 0.0:
        return 0.0
    return count_bytes / (gb_s * 1e9) if gb_s > 0.0 else float("inf")
