"""The terms of the default formula, one function each, and those that other formulas share: columns in, a column out.

Every term is defined for every machine, also for one that is not paid, and none is ever NaN: what is not known
gives the term's least value.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from storage.records import ALPHA_TAO
from tasks.collateral.cover import RAO, Cover, cover_by_chain, cover_by_ledger, needed_rao
from tasks.policy import CollateralPolicy, InspectionPolicy, ProofPolicy, ScoringPolicy
from tasks.scoring.market import Market


def performance(frame: pd.DataFrame, scoring: ScoringPolicy, proof: ProofPolicy) -> np.ndarray:
    """The slowest card's proved bandwidth over its class, clipped to the window; 0 when nothing was proved.

    The class is the model's reference bandwidth; where the policy proves simulated cards, whose speed is that of the
    CPU, it is the median of the machines of the same model that passed in this epoch. A model that too few have proved
    is paid at the low end of the window, however fast it was.

    A leased machine's small proof measures its caches: it has no performance, and 1 here; it is paid by its rent.
    """
    proved, reference = frame["proved_gb_s"].to_numpy(), frame["reference_gb_s"].to_numpy()
    is_leased, unproven = frame["is_leased"].to_numpy(), frame["unproven"].to_numpy()
    if not proof.enforce_bandwidth:
        reference = _medians(frame)
    low, high = scoring.performance_window
    with np.errstate(over="ignore"):  # beyond the largest number is beyond the window too
        share = np.divide(proved, reference, out=np.full(len(frame), np.nan), where=reference > 0)
    paid = np.where(is_leased, 1.0, np.clip(share, low, high))
    paid = np.where(unproven & ~is_leased, np.minimum(paid, scoring.unproven_performance), paid)
    return np.where((proved > 0) & ~np.isnan(paid), paid, 0.0)


def _medians(frame: pd.DataFrame) -> np.ndarray:
    measured = frame["proved_gb_s"].where((frame["passed"] > 0) & ~frame["is_leased"])
    return measured.groupby(frame["model_number"]).transform("median").to_numpy()


def bandwidth(frame: pd.DataFrame, scoring: ScoringPolicy, inspection: InspectionPolicy) -> np.ndarray:
    """The slower way, smoothed: the floor at the required minimum, straight up to 1 at full; unknown is the floor."""
    slower = np.minimum(frame["up_mbit_s"].to_numpy(), frame["down_mbit_s"].to_numpy())
    least, full = inspection.min_mbit_s, scoring.full_bandwidth_mbit_s
    share = (slower - least) / (full - least) if full > least else (slower >= least).astype("float64")
    return _ramp(share, scoring.bandwidth_floor)


def uptime(passing_s: np.ndarray, scoring: ScoringPolicy) -> np.ndarray:
    """The time of unbroken passing: the floor for a newcomer, straight up to 1 at full."""
    return _ramp(passing_s / max(scoring.uptime_full_s, 1.0), scoring.uptime_floor)


def cover(frame: pd.DataFrame, policy: CollateralPolicy, market: Market) -> Cover:
    """What stands behind each machine, where the policy looks for it; machines that are not paid need theirs as well."""
    model, cards = frame["model"].to_numpy(), frame["card_count"].to_numpy()
    units = {name: needed_rao(name, 1, policy) for name in set(model)}
    needed = np.fromiter(map(units.__getitem__, model), "int64", len(frame)) * cards
    if policy.source == "chain":
        price_rao = round(market.tokens.get(ALPHA_TAO, 0.0) * RAO)
        return cover_by_chain(frame["miner"].to_numpy(), needed, frame["locked_rao"].to_numpy(), price_rao)
    needed = np.where(needed > 0, np.maximum(needed, policy.min_deposit_rao), 0)
    return cover_by_ledger(needed, frame["deposited_rao"].to_numpy())


def collateral(covered: Cover, scoring: ScoringPolicy) -> np.ndarray:
    """1 where a machine is covered, to the rao, else the policy's factor."""
    return np.where(covered.is_covered, 1.0, scoring.uncollateralised)


def isolation(frame: pd.DataFrame, isolated: float, unisolated: float) -> np.ndarray:
    """Whether the container engine offers a runtime that keeps a tenant from the host, as the machine says."""
    return np.where(frame["is_isolating"].to_numpy(), isolated, unisolated)


def occupancy(frame: pd.DataFrame, scoring: ScoringPolicy) -> np.ndarray:
    """1 for an idle machine; a leased one's share of its rent, as far as the market vouches for it, over its market rate."""
    rate = frame["rate_usd_per_hour"].to_numpy() * frame["card_count"].to_numpy()
    rent = frame["rent_usd_per_hour"].to_numpy()
    vouched = np.divide(np.minimum(rent, rate), rate, out=np.zeros(len(frame)), where=rate > 0)
    return np.where(frame["is_leased"].to_numpy(), scoring.leased_share * vouched, 1.0)


def price(frame: pd.DataFrame, most: float, above: float) -> np.ndarray:
    """1 up to so many times the market's rate of the machine, to the last bit, `above` beyond it."""
    return np.where(frame["price_usd_per_hour"].to_numpy() > most_usd(frame, most), above, 1.0)


def most_usd(frame: pd.DataFrame, most: float) -> np.ndarray:
    """So many times the market's rate of all cards; no limit where nothing is known of them."""
    rate = frame["rate_usd_per_hour"].to_numpy() * frame["card_count"].to_numpy()
    return np.where(rate > 0, most * rate, np.inf)


def capacity(bucket: np.ndarray, cards: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Cards that are paid over cards that are there, in each machine's bucket; 1 where a machine has no cards to count."""
    there = group_sums(bucket, cards)
    paid = np.minimum(there, caps)
    share: np.ndarray = np.divide(paid, there, out=np.ones(len(cards)), where=(there > 0) & (cards > 0))
    return share


def group_sums(groups: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """For each row the sum over its group: exact, since the numbers are integers."""
    _, numbered = np.unique(groups, return_inverse=True)
    sums: np.ndarray = np.bincount(numbered, weights=numbers, minlength=1)[numbered].astype("int64")
    return sums


def _ramp(share: np.ndarray, floor: float) -> np.ndarray:
    """From `floor` at 0 straight to 1 at 1; NaN is 0."""
    known: np.ndarray = np.nan_to_num(np.clip(share, 0.0, 1.0), nan=0.0)
    return floor + (1.0 - floor) * known
