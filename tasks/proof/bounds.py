"""What a model's proved bandwidth may be: from a share of what honest machines measure to a physical ceiling.

    least   0.75 x the population's median, but never below the static floor, and the median counts as no more than
            the vendor's own figure
    most    1.25 x the vendor's figure

So whoever holds the majority moves the bound between the floor (0.70 of the vendor's figure) and 0.75 of it, no
further. A model that too few miners have proved is held to the floor alone, and said to be unproven.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from tasks.policy import ProofPolicy
from tasks.proof.population import Population


class Model(Protocol):
    """A card model, as the validator's own table has it."""

    @property
    def memory_bytes(self) -> int:
        """Nominal memory of one card."""
        ...

    @property
    def bandwidth_gb_s(self) -> float:
        """Reference bandwidth of one card, 10^9 bytes a second."""
        ...


class BoundsSource(StrEnum):
    """Where the lower bound comes from."""

    VENDOR = "vendor"
    """The static floor: too few have proved the model."""
    HISTORY = "history"
    """The median of the archived passing proofs."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between these a proved bandwidth passes; outside it fails only when enforced."""

    min_gb_s: float
    max_gb_s: float
    is_enforced: bool
    source: BoundsSource = BoundsSource.VENDOR
    population: Population | None = None
    """What the history knows of the model, enough or not; None when nothing."""
    wanted_miners: int = 0
    wanted_machines: int = 0
    """So many must have proved the model before its history counts."""

    @property
    def is_unproven(self) -> bool:
        """Whether a machine of this model is measured and flagged, and not paid as known: history is asked for and lacks."""
        return self.is_enforced and self.source is BoundsSource.VENDOR and self.wanted_miners > 0


def bandwidth_bounds(model: Model, policy: ProofPolicy, population: Population | None = None) -> Bounds:
    """The bounds of the model under the policy; a simulated card's clock says nothing, so it is never held to them."""
    floor_gb_s = model.bandwidth_gb_s * policy.floor_bandwidth_share
    is_known = population is not None and _is_enough(population, policy)
    learned_gb_s = _learned_gb_s(model, policy, population) if population and is_known else floor_gb_s
    return Bounds(
        min_gb_s=max(floor_gb_s, learned_gb_s),
        max_gb_s=model.bandwidth_gb_s * policy.max_bandwidth_share,
        is_enforced=policy.enforce_bandwidth and policy.form == "cuda",
        source=BoundsSource.HISTORY if is_known else BoundsSource.VENDOR,
        population=population,
        wanted_miners=policy.history_miners,
        wanted_machines=policy.history_machines,
    )


def _is_enough(population: Population, policy: ProofPolicy) -> bool:
    return population.miners >= policy.history_miners and population.machines >= policy.history_machines


def _learned_gb_s(model: Model, policy: ProofPolicy, population: Population) -> float:
    # No card reads more than its vendor says, so fast liars can't push the bound over an honest card.
    return policy.min_bandwidth_share * min(population.median_gb_s, model.bandwidth_gb_s)
