"""What a model's proved bandwidth may be: from a share of its reference to a physical ceiling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tasks.policy import ProofPolicy


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


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between these a proved bandwidth passes; outside it fails only when enforced."""

    min_gb_s: float
    max_gb_s: float
    is_enforced: bool


def bandwidth_bounds(model: Model, policy: ProofPolicy) -> Bounds:
    """The bounds of the model under the policy; a simulated card's clock says nothing, so it is never held to them."""
    return Bounds(
        min_gb_s=model.bandwidth_gb_s * policy.min_bandwidth_share,
        max_gb_s=model.bandwidth_gb_s * policy.max_bandwidth_share,
        is_enforced=policy.enforce_bandwidth and policy.form == "cuda",
    )
