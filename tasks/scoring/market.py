"""What the market pays for a model, what the tokens cost, and the class that a model's proved performance is held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from storage.records import PORTION, RATE, TOKEN, Card, Quote
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


class Market:
    """The market of one epoch: a rate of the policy goes before a quote, a quote before the table of models."""

    def __init__(self, quotes: Iterable[Quote], policy: Policy) -> None:
        said: dict[str, dict[str, float]] = {}
        for quote in quotes:
            said.setdefault(quote.kind, {})[quote.name] = quote.value
        self._window = policy.inspection.vram_window
        self._usd_per_hour = said.get(RATE, {}) | dict(policy.scoring.rates_usd_per_hour)
        self._known: dict[tuple[str, int], ModelRate | None] = {}
        self.tokens: Mapping[str, float] = said.get(TOKEN, {})
        """USD for one TAO, TAO for one alpha; what is not known is not there."""
        self.portions: Mapping[str, float] = dict(policy.pricing.base_portions) | said.get(PORTION, {})
        """Share of the emission for a model, 0..1."""

    def rate(self, cards: Sequence[Card]) -> ModelRate | None:
        """The rate of a machine's cards: they are of one model where the machine may be paid; None when it is unknown."""
        if not cards:
            return None
        key = (cards[0].model, cards[0].vram_mib)
        if key not in self._known:
            self._known[key] = self._look_up(*key)
        return self._known[key]

    def _look_up(self, model_name: str, vram_mib: int) -> ModelRate | None:
        model = models.find(model_name)
        if model is None:
            return None
        sku = models.sku(model, vram_mib, self._window)
        return ModelRate(
            name=model.name,
            usd_per_hour=self._usd_per_hour.get(model.name, model.base_price_usd_per_hour),
            reference_bandwidth_gb_s=sku.bandwidth_gb_s if sku else model.bandwidth_gb_s,
        )
