"""The default formula: what a machine is worth on the market, times what is proved and known of it.

score = rate x cards x performance x bandwidth x uptime x isolation x collateral
        x occupancy x price x capacity x passed                                            [USD an hour]
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from storage.records import ALPHA_TAO, Reason
from tasks.collateral.cover import Cover
from tasks.policy import Policy
from tasks.scoring import reasons, terms
from tasks.scoring.bills import DEFAULT_TERMS, product
from tasks.scoring.formulas.bill import Bill, Columns, Given, Remark
from tasks.scoring.formulas.common import isolation_remark

MANY_SHAPES = 1_000
"""More than any machine has cards that is counted."""


def bill(frame: pd.DataFrame, given: Given) -> Bill:
    """Every term of every machine, and the product of those that are not in shadow."""
    policy, scoring = given.policy, given.policy.scoring
    bucket, caps = _buckets(frame, policy)
    idle = np.where(frame["is_leased"] | (frame["passed"] == 0), 0, frame["card_count"])
    covered = terms.cover(frame, policy.collateral, given.market.tokens.get(ALPHA_TAO, 0.0))
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
    return Bill(columns, _remarks(frame, columns, policy, (terms.group_sums(bucket, idle), caps), covered))


def _buckets(frame: pd.DataFrame, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
    """A number for each machine's model and shape, and its cap."""
    shape = np.minimum(frame["card_count"].to_numpy(), MANY_SHAPES - 1)
    bucket = frame["model_number"].to_numpy() * MANY_SHAPES + shape
    caps = np.full(len(frame), policy.scoring.cap_cards)
    for model, cards, cap in policy.scoring.caps:
        caps[(frame["model"].to_numpy() == model) & (shape == cards)] = cap
    return bucket, caps


def _remarks(
    frame: pd.DataFrame,
    columns: Columns,
    policy: Policy,
    buckets: tuple[np.ndarray, np.ndarray],
    covered: Cover,
) -> tuple[Remark, ...]:
    scoring, (there, caps) = policy.scoring, buckets
    most, asked = terms.most_usd(frame, scoring.price_most), frame["price_usd_per_hour"].to_numpy()
    model, count = frame["model"].to_numpy(), frame["card_count"].to_numpy()

    def collateral(at: int) -> Reason:
        has, needed = int(covered.has_rao[at]), int(covered.needed_rao[at])
        if policy.collateral.source == "ledger":
            return reasons.deposit_missing(has, needed, model[at])
        return reasons.collateral_short(has, needed)

    def price(at: int) -> Reason:
        return reasons.price_above_market(asked[at], most[at])

    def capacity(at: int) -> Reason:
        return reasons.capacity_shared(
            int(there[at]), int(caps[at]), f"{model[at]}, {count[at]} in a machine"
        )

    return (
        isolation_remark(frame, "isolation", columns["isolation"] < 1.0, policy),
        Remark("collateral", columns["collateral"] < 1.0, collateral),
        Remark("price", columns["price"] < 1.0, price),
        Remark("capacity", columns["capacity"] < 1.0, capacity),
        Remark("occupancy", columns["occupancy"] == 0.0, lambda _: reasons.lease_without_rent()),
    )
