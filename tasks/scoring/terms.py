"""The terms of a score, one function each: columns in, a column out, nothing else looked at.

    score = rate x cards x performance x bandwidth x uptime x collateral x passed      [USD an hour]

Every term is defined for every machine, also for one that is not paid, and none is ever NaN: what is not known
gives the term's least value.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from tasks.policy import InspectionPolicy, ProofPolicy, ScoringPolicy


def performance(  # noqa: PLR0917  one column after the other
    proved_gb_s: pd.Series[float],
    reference_gb_s: pd.Series[float],
    model: pd.Series[str],
    passed: pd.Series[float],
    is_leased: pd.Series[bool],
    unproven: pd.Series[bool],
    *,
    scoring: ScoringPolicy,
    proof: ProofPolicy,
) -> pd.Series[float]:
    """The slowest card's proved bandwidth over its class, clipped to the window; 0 when nothing was proved.

    The class is the model's reference bandwidth; where the policy proves simulated cards, whose speed is that of the
    CPU, it is the median of the machines of the same model that passed in this epoch. A model that too few have proved
    is paid at the low end of the window, however fast it was.

    A leased machine's small proof measures its caches: it is taken for its class, 1, neither slower nor faster.
    """
    if not proof.enforce_bandwidth:
        reference_gb_s = proved_gb_s.where((passed > 0) & ~is_leased).groupby(model).transform("median")
    low, high = scoring.performance_window
    share = proved_gb_s / reference_gb_s.where(reference_gb_s > 0)
    paid = share.clip(low, high).mask(is_leased, 1.0)
    paid = paid.where(~unproven, paid.clip(upper=scoring.unproven_performance))
    return paid.where(proved_gb_s > 0, 0.0).fillna(0.0)


def bandwidth(
    up_mbit_s: pd.Series[float],
    down_mbit_s: pd.Series[float],
    scoring: ScoringPolicy,
    inspection: InspectionPolicy,
) -> pd.Series[float]:
    """The slower way, smoothed: the floor at the required minimum, straight up to 1 at full; unknown is the floor."""
    slower = up_mbit_s.where(up_mbit_s <= down_mbit_s, down_mbit_s)
    least, full = inspection.min_mbit_s, scoring.full_bandwidth_mbit_s
    share = (slower - least) / (full - least) if full > least else (slower >= least).astype(float)
    return _ramp(share, scoring.bandwidth_floor)


def uptime(passed_since: pd.Series[pd.Timestamp], now: datetime, scoring: ScoringPolicy) -> pd.Series[float]:
    """The time of unbroken passing: the floor for a newcomer, straight up to 1 at full."""
    passing_s = (pd.Timestamp(now) - passed_since).dt.total_seconds()
    return _ramp(passing_s / max(scoring.uptime_full_s, 1.0), scoring.uptime_floor)


def collateral(
    miner_hotkey: pd.Series[str],
    card_count: pd.Series[int],
    locked_rao: pd.Series[int],
    scoring: ScoringPolicy,
) -> pd.Series[float]:
    """1 where the miner's locked collateral covers the cards of all its machines, exact to the rao, else the policy's factor."""
    is_covered = locked_rao >= needed_rao(miner_hotkey, card_count, scoring)
    return pd.Series(np.where(is_covered, 1.0, scoring.uncollateralised), index=is_covered.index)


def needed_rao(
    miner_hotkey: pd.Series[str], card_count: pd.Series[int], scoring: ScoringPolicy
) -> pd.Series[int]:
    """The collateral that each machine's miner needs for all its machines together, in rao."""
    return card_count.groupby(miner_hotkey).transform("sum") * scoring.collateral_rao_per_card


def _ramp(share: pd.Series[float], floor: float) -> pd.Series[float]:
    """From `floor` at 0 straight to 1 at 1; NaN is 0."""
    return floor + (1.0 - floor) * share.clip(0.0, 1.0).fillna(0.0)
