"""What more than one formula tells."""

from __future__ import annotations

import numpy as np
import pandas as pd

from storage.records import Reason
from tasks.collateral.cover import Cover
from tasks.policy import Policy
from tasks.scoring import reasons, terms
from tasks.scoring.formulas.bill import Remark


def isolation_remark(frame: pd.DataFrame, term: str, which: np.ndarray, policy: Policy) -> Remark:
    """No runtime that keeps a tenant from the host."""
    facts = frame["facts"].to_numpy()

    def tell(at: int) -> Reason:
        return reasons.isolation_missing(facts[at].container_runtimes, policy.scoring.isolating_runtimes)

    return Remark(term, which, tell)


def portion_remark(frame: pd.DataFrame, which: np.ndarray) -> Remark:
    """No share of the emission for the model."""
    model = frame["model"].to_numpy()
    return Remark("portion", which, lambda at: reasons.model_without_portion(model[at]))


def collateral_remark(term: str, which: np.ndarray, covered: Cover, policy: Policy) -> Remark:
    """Too little locked for all machines of the miner, or deposited for the machine, to the rao."""

    def tell(at: int) -> Reason:
        has, needed = int(covered.has_rao[at]), int(covered.needed_rao[at])
        if policy.collateral.source == "ledger":
            return reasons.deposit_missing(has, needed)
        return reasons.collateral_short(has, needed)

    return Remark(term, which, tell)


def price_remark(frame: pd.DataFrame, which: np.ndarray, most: float) -> Remark:
    """The declared price is more than so many times the market's rate."""
    asked, limit = frame["price_usd_per_hour"].to_numpy(), terms.most_usd(frame, most)
    return Remark("price", which, lambda at: reasons.price_above_market(asked[at], limit[at]))


def capacity_remark(
    frame: pd.DataFrame, which: np.ndarray, buckets: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Remark:
    """More cards than are paid; `buckets` are each machine's: its number, the cards there, the cap."""
    numbers, there, caps = (part.tolist() for part in buckets)
    model, shape = frame["model"].to_numpy(), frame["card_count"].to_numpy()
    told: dict[int, Reason] = {}

    def tell(at: int) -> Reason:
        number = numbers[at]
        if number not in told:
            bucket = f"{model[at]}'s bucket, {shape[at]} in a machine"
            told[number] = reasons.capacity_shared(there[at], caps[at], bucket)
        return told[number]

    return Remark("capacity", which, tell)
