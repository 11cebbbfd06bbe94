"""What more than one formula tells."""

from __future__ import annotations

import numpy as np
import pandas as pd

from storage.records import Reason
from tasks.policy import Policy
from tasks.scoring import reasons
from tasks.scoring.formulas.bill import Remark
from tasks.scoring.formulas.deposits import needed_rao


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


def deposit_remark(frame: pd.DataFrame, term: str, which: np.ndarray, policy: Policy) -> Remark:
    """Too little deposited for the machine, to the rao."""
    model, cards, rao = (frame[name].to_numpy() for name in ("model", "card_count", "deposited_rao"))

    def tell(at: int) -> Reason:
        needed = needed_rao(model[at], int(cards[at]), policy.lium)
        return reasons.deposit_missing(int(rao[at]), needed, model[at])

    return Remark(term, which, tell)
