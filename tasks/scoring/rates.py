"""What the market pays for a model, and the class that its proved performance is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from storage.records import Card
from tasks.inspection import models
from tasks.policy import Policy


class ModelRate(NamedTuple):
    """A model as scoring sees it."""

    name: str
    """The table's name: the same for every spelling that drivers use."""
    usd_per_hour: float
    """For one card."""
    reference_bandwidth_gb_s: float
    """10^9 bytes a second, of this memory size."""


def market_rate(card: Card, policy: Policy, overrides: Mapping[str, float]) -> ModelRate | None:
    """The rate of a card's model by the table of models, or by the policy where it names the model; None when unknown."""
    model = models.find(card.model)
    if model is None:
        return None
    sku = models.sku(model, card.vram_mib, policy.inspection.vram_window)
    return ModelRate(
        name=model.name,
        usd_per_hour=overrides.get(model.name, model.base_price_usd_per_hour),
        reference_bandwidth_gb_s=sku.bandwidth_gb_s if sku else model.bandwidth_gb_s,
    )
