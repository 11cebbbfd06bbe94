"""What several sources say becomes one number, or a reason why it does not. Pure: `now` is an argument.

said -> old and absurd answers left out -> median -> outliers left out -> enough left? -> median of those
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

from storage.records import RATE, PriceAnswer, Quote
from tasks.policy import PricingPolicy

CHAIN = "chain"
"""The source of the alpha price: it is asked of nobody else, so it needs to agree with nobody."""

Key = tuple[str, str]
"""Kind and name."""


class Agreement(NamedTuple):
    """What the sources come to."""

    quotes: tuple[Quote, ...]
    """By kind and name."""
    refused: dict[Key, str]
    """What they did not agree on, and why."""


def agree(
    answers: Iterable[PriceAnswer], anchors: Mapping[str, float], policy: PricingPolicy, now: datetime
) -> Agreement:
    """Each number that enough sources say alike: the median of those that do, as old as the oldest of them.

    `anchors`: the price file's rate of each model, which no market's rate may be too far from.
    """
    oldest = now - timedelta(seconds=policy.answer_life_s)
    said: dict[Key, list[Quote]] = defaultdict(list)
    for answer in answers:
        for quote in answer.quotes:
            if oldest <= quote.as_of <= now and _is_near(quote, anchors, policy.rate_drift):
                said[quote.kind, quote.name].append(quote)
    found = {key: _one(sorted(quotes, key=lambda q: q.source), policy) for key, quotes in said.items()}
    return Agreement(
        tuple(found[key] for key in sorted(found) if isinstance(found[key], Quote)),  # type: ignore[misc]
        {key: what for key, what in sorted(found.items()) if isinstance(what, str)},
    )


def _is_near(quote: Quote, anchors: Mapping[str, float], drift: float) -> bool:
    anchor = anchors.get(quote.name) if quote.kind == RATE else None
    return anchor is None or anchor / drift <= quote.value <= anchor * drift


def _one(said: Sequence[Quote], policy: PricingPolicy) -> Quote | str:
    if said[0].source == CHAIN:
        return said[0]
    is_rate = said[0].kind == RATE
    spread, least = (
        (policy.rate_spread, policy.least_rate_sources)
        if is_rate
        else (policy.token_spread, policy.least_token_sources)
    )
    middle = median(quote.value for quote in said)
    kept = [quote for quote in said if abs(quote.value - middle) <= spread * middle]
    if len(kept) < least:
        told = ", ".join(f"{quote.source} {quote.value:g}" for quote in said)
        return f"{len(kept)} of {len(said)} within {spread:.0%} of their median, {least} needed ({told})"
    return Quote(
        kind=said[0].kind,
        name=said[0].name,
        value=median(quote.value for quote in kept),
        source=",".join(quote.source for quote in kept),
        as_of=min(quote.as_of for quote in kept),
    )
