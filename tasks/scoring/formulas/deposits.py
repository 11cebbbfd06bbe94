"""What both formulas of subnet 51 ask a machine to deposit, exact to the rao."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.lium import LiumPolicy


def needed_rao(model: str, cards: int, lium: LiumPolicy) -> int | None:
    """Unit x cards x days, at least the least; 0 for a model that is free of it, None for one that has no unit."""
    if model in lium.deposit_free_models:
        return 0
    unit = dict(lium.deposit_rao_per_card_day).get(model)
    return None if unit is None else max(unit * cards * lium.deposit_days, lium.deposit_least_rao)


def is_deposited(frame: pd.DataFrame, lium: LiumPolicy) -> np.ndarray:
    """Whether each machine's own deposit covers what it needs; never for a model without a unit."""
    units = dict(lium.deposit_rao_per_card_day)
    unit = frame["model"].map(units).fillna(0).to_numpy(dtype="int64")
    needed = np.maximum(unit * frame["card_count"].to_numpy() * lium.deposit_days, lium.deposit_least_rao)
    is_covered: np.ndarray = (frame["deposited_rao"].to_numpy() >= needed) & (unit > 0)
    is_free: np.ndarray = frame["model"].isin(lium.deposit_free_models).to_numpy()
    deposited: np.ndarray = is_covered | is_free
    return deposited
