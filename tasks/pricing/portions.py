"""Portions: each model's share of what is paid, moving slowly towards its share of what renters pay. Pure.

    p += 0.01 x (revenue - p)   every 600 s;  over any other time  p = revenue + (p - revenue) x 0.99 ^ (seconds / 600)

The first value of a model is half way from its base share to its share of revenue. While nobody rents, nothing moves,
and that time is not caught up later: what would have moved it then is not known now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import fsum

from storage.records import PORTION, REVENUE, Lease, Quote
from tasks.policy import PricingPolicy

LEASES = "leases"
"""The source of shares of revenue, and of the portions that follow them."""


def revenue_shares(leases: Iterable[Lease], models: Mapping[str, str]) -> dict[str, float]:
    """Each model's share of what renters pay an hour; empty when nobody rents. `models`: by executor key."""
    paid: dict[str, list[float]] = defaultdict(list)
    for lease in leases:
        model = models.get(lease.executor_key)
        if model and lease.price_usd_per_hour > 0.0:
            paid[model].append(lease.price_usd_per_hour)
    total = fsum(price for prices in paid.values() for price in prices)
    return {model: fsum(prices) / total for model, prices in sorted(paid.items())} if total > 0.0 else {}


def moved(portion: float, revenue: float, elapsed_s: float, policy: PricingPolicy) -> float:
    """The portion after so many seconds of this revenue share."""
    steps = max(0.0, min(elapsed_s, policy.portion_catch_up_s)) / policy.portion_step_s
    return float(revenue + (portion - revenue) * (1.0 - policy.portion_step) ** steps)


def next_portions(
    kept: Sequence[Quote], revenue: Mapping[str, float], policy: PricingPolicy, now: datetime
) -> tuple[Quote, ...]:
    """All portions as they stand now, by model; with nothing kept and no revenue the base shares, not yet moved."""
    base = dict(policy.base_portions)
    if not kept:
        start = {model: base.get(model, 0.0) for model in sorted({*base, *revenue})}
        if revenue:
            first = policy.first_portion_step
            start = {m: rate + first * (revenue.get(m, 0.0) - rate) for m, rate in start.items()}
        return _quotes(start, now)
    elapsed_s = (now - kept[0].as_of).total_seconds()
    # A clock that was far ahead once stops no portion until that moment; one a little behind another's counts no time twice.
    as_of = now if elapsed_s < -policy.portion_catch_up_s else max(now, kept[0].as_of)
    old = {quote.name: quote.value for quote in kept}
    if not revenue:
        return _quotes(dict(sorted(old.items())), as_of)
    shares = {
        model: moved(old.get(model, 0.0), revenue.get(model, 0.0), elapsed_s, policy)
        for model in sorted({*old, *revenue})
    }
    return _quotes(shares, as_of)


def revenue_quotes(revenue: Mapping[str, float], now: datetime) -> tuple[Quote, ...]:
    """What portions move towards, for the archive."""
    return tuple(Quote(REVENUE, model, share, LEASES, now) for model, share in sorted(revenue.items()))


def _quotes(shares: Mapping[str, float], now: datetime) -> tuple[Quote, ...]:
    return tuple(Quote(PORTION, model, share, LEASES, now) for model, share in shares.items())
