"""The default formula: what a machine is worth on the market, times what is proved and known of it.

score = rate x cards x performance x bandwidth x uptime x isolation x collateral
        x occupancy x price x capacity x passed                                            [USD an hour]
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.policy import Policy
from tasks.scoring import reasons, terms
from tasks.scoring.bills import DEFAULT_TERMS, product
from tasks.scoring.formulas.bill import Bill, Given, Remark
from tasks.scoring.formulas.common import capacity_remark, collateral_remark, isolation_remark, price_remark

MANY_SHAPES = 1_000
"""More than any machine has cards that is counted."""


def bill(frame: pd.DataFrame, given: Given) -> Bill:
    """Every term of every machine, and the product of those that are not in shadow."""
    policy, scoring = given.policy, given.policy.scoring
    bucket, caps = _buckets(frame, policy)
    idle = np.where(frame["is_leased"] | (frame["passed"] == 0), 0, frame["card_count"])
    covered = terms.cover(frame, policy.collateral, given.market)
    columns = {
        "rate_usd_per_hour": frame["rate_usd_per_hour"].to_numpy(),
        "card_count": frame["card_count"].to_numpy(),
        "performance": terms.performance(frame, scoring, policy.proof),
        "bandwidth": terms.bandwidth(frame, scoring, policy.inspection),
        "uptime": terms.uptime(frame["passing_s"].to_numpy(), scoring),
        "isolation": terms.isolation(frame, 1.0, scoring.unisolated),
        "collateral": terms.collateral(covered, scoring),
        "occupancy": terms.occupancy(frame, scoring),
        "price": terms.price(frame, scoring.price_most, scoring.overpriced),
        "capacity": terms.capacity(bucket, idle, caps),
        "passed": frame["passed"].to_numpy(),
    }
    columns["score"] = product(columns, DEFAULT_TERMS, given.shadow)
    told = (
        isolation_remark(frame, "isolation", columns["isolation"] < 1.0, policy),
        collateral_remark("collateral", columns["collateral"] < 1.0, covered, policy),
        price_remark(frame, columns["price"] < 1.0, scoring.price_most),
        capacity_remark(frame, columns["capacity"] < 1.0, (bucket, terms.group_sums(bucket, idle), caps)),
        Remark("occupancy", columns["occupancy"] == 0.0, lambda _: reasons.lease_without_rent()),
    )
    return Bill(columns, told)


def _buckets(frame: pd.DataFrame, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
    """A number for each machine's model and shape, and its cap."""
    shape = np.minimum(frame["card_count"].to_numpy(), MANY_SHAPES - 1)
    bucket = frame["model_number"].to_numpy() * MANY_SHAPES + shape
    caps = np.full(len(frame), policy.scoring.cap_cards)
    for model, cards, cap in policy.scoring.caps:
        caps[(frame["model"].to_numpy() == model) & (shape == cards)] = cap
    return bucket, caps
