"""Subnet 51's formula of August 2025 (docs/scoring.md):

score = portion[model] x cards / cards[model] x (0.05 + min(0.95, minutes / 7200)) x 1.2 if isolated
        x 0.5 if not deposited
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.lium import Lium2025Policy
from tasks.scoring import terms
from tasks.scoring.bills import LIUM_2025_TERMS, product
from tasks.scoring.formulas.bill import Bill, Given
from tasks.scoring.formulas.common import collateral_remark, isolation_remark, portion_remark
from tasks.scoring.market import Market


def bill(frame: pd.DataFrame, given: Given) -> Bill:
    """Every term of every machine, and the product of those that are not in shadow."""
    policy, own = given.policy, given.policy.lium_2025
    covered = terms.cover(frame, policy.collateral, given.market)
    columns = {
        "passed": frame["passed"].to_numpy(),
        "portion": portions(frame, given.market),
        "card_share": card_share(frame, frame["card_count"].to_numpy()),
        "uptime": uptime(frame["passing_s"].to_numpy(), own),
        "isolation": terms.isolation(frame, own.isolated, 1.0),
        "collateral": np.where(covered.is_covered, 1.0, own.undeposited),
    }
    columns["score"] = product(columns, LIUM_2025_TERMS, given.shadow)
    remarks = (
        portion_remark(frame, columns["portion"] == 0.0),
        isolation_remark(frame, "isolation", columns["isolation"] < own.isolated, policy),
        collateral_remark("collateral", columns["collateral"] < 1.0, covered, policy),
    )
    return Bill(columns, remarks)


def portions(frame: pd.DataFrame, market: Market) -> np.ndarray:
    """The emission's share of each machine's model; 0 for one that has none."""
    return frame["model"].map(market.portions).fillna(0.0).to_numpy(dtype="float64")


def card_share(frame: pd.DataFrame, cards: np.ndarray) -> np.ndarray:
    """So many of each machine's cards over all counted cards of its model; 0 where none is counted."""
    counted = np.where(frame["is_counted"], frame["card_count"], 0)
    there = terms.group_sums(frame["model_number"].to_numpy(), counted)
    share: np.ndarray = np.divide(cards, there, out=np.zeros(len(frame)), where=there > 0)
    return share


def uptime(passing_s: np.ndarray, own: Lium2025Policy) -> np.ndarray:
    """The floor, and a share for every minute of unbroken passing."""
    gained: np.ndarray = np.nan_to_num(np.maximum(passing_s, 0.0), nan=0.0) / 60.0 / own.uptime_full_min
    share: np.ndarray = own.uptime_floor + np.minimum(own.uptime_most, gained)
    return share
