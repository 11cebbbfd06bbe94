"""Subnet 51's formula of mid 2026 (docs/scoring.md): a score is a share of the emission, from one or both of two pools.

    leased   points = passed x price x portion[model] x leased cards / cards[model] x uptime x isolation
             0.09 x points / all points
    idle     points = passed x price x programme x idle cards x rate x capacity x isolation x driver       [USD/h]
             share x points / all points,  share = min(0.91, all points x 1.2 h / 0.41 / (360 alpha in USD))

A machine of which a part is leased is in both pools, each with its part of the cards.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd

from storage.records import ALPHA_TAO, TAO_USD
from tasks.lium import Lium2026Policy
from tasks.scoring import terms
from tasks.scoring.bills import IDLE_TERMS, LEASED_TERMS, product
from tasks.scoring.formulas.bill import Bill, Columns, Given
from tasks.scoring.formulas.lium_2025 import card_share, portions
from tasks.scoring.formulas.programme import programme_of
from tasks.scoring.formulas.remarks_2026 import remarks
from tasks.scoring.market import Market
from tasks.scoring.versions import version_number


def bill(frame: pd.DataFrame, given: Given) -> Bill:
    """Both parts of every machine, and their shares of the emission together."""
    own, leased_cards = given.policy.lium_2026, frame["leased_cards"].to_numpy()
    covered, taken = terms.cover(frame, given.policy.collateral, given.market), programme_of(frame, own)
    columns = {
        "passed": frame["passed"].to_numpy(),
        "rate_usd_per_hour": frame["rate_usd_per_hour"].to_numpy(),
        "price": terms.price(frame, own.price_most, 0.0),
        "portion": portions(frame, given.market),
        "card_share": card_share(frame, leased_cards),
        "uptime": _uptime(frame["passing_s"].to_numpy(), covered.is_covered, own),
        "isolation": _leased_isolation(frame, own),
        "leased_cards": leased_cards,
        "idle_cards": frame["idle_cards"].to_numpy(),
        "idle_isolation": terms.isolation(frame, 1.0, own.unisolated),
        "driver": _driver(frame, own, given.scored_at),
        "programme": taken.programme,
    }
    payable = _payable_cards(columns, given.shadow)
    columns["capacity"] = terms.capacity(taken.bucket, payable, taken.caps)
    columns |= _leased_pool(columns, own, given.shadow) | _idle_pool(columns, given)
    columns["score"] = _share(columns, "leased") + _share(columns, "idle")
    there = terms.group_sums(taken.bucket, payable)
    return Bill(columns, tuple(remarks(frame, columns, given, taken, (there, covered))))


def _uptime(passing_s: np.ndarray, deposited: np.ndarray, own: Lium2026Policy) -> np.ndarray:
    """1 with a deposit or where nobody needs one, else from 0 to 1 over the days of unbroken passing."""
    share = np.nan_to_num(np.clip(passing_s / 86_400.0 / own.uptime_full_days, 0.0, 1.0), nan=0.0)
    return np.where(deposited | own.is_penalty_skipped, 1.0, share)


def _leased_isolation(frame: pd.DataFrame, own: Lium2026Policy) -> np.ndarray:
    """Less without an isolating runtime, by when the newest lease began; 1 of a machine that nobody leases."""
    is_late = frame["lease_day"].to_numpy() > date.fromisoformat(own.unisolated_until).toordinal()
    factor = np.where(is_late, own.unisolated_lease, own.unisolated)
    is_exempt = frame["is_isolating"].to_numpy() | ~frame["is_leased"].to_numpy()
    return np.where(is_exempt, 1.0, factor)


def _driver(frame: pd.DataFrame, own: Lium2026Policy, scored_at: datetime) -> np.ndarray:
    is_old = frame["driver_number"].to_numpy() < version_number(own.driver_min)
    is_due = scored_at.astimezone(UTC).date() >= date.fromisoformat(own.driver_since)
    return np.where(is_old & is_due, 0.0, 1.0)


def _payable_cards(columns: Columns, shadow: frozenset[str]) -> np.ndarray:
    """Idle cards that would be paid: who is not, dilutes nobody."""
    others = [term for term in IDLE_TERMS if term not in {"capacity", "idle_cards", "rate_usd_per_hour"}]
    return np.where(product(columns, others, shadow) > 0.0, columns["idle_cards"], 0)


def _leased_pool(columns: Columns, own: Lium2026Policy, shadow: frozenset[str]) -> Columns:
    points = product(columns, LEASED_TERMS, shadow)
    total = math.fsum(points)
    return _pool("leased", points, total, own.leased_pool)


def _idle_pool(columns: Columns, given: Given) -> Columns:
    points = product(columns, IDLE_TERMS, given.shadow)
    total = math.fsum(points)
    return _pool("idle", points, total, idle_share(total, given.market, given.policy.lium_2026))


def idle_share(cost_usd_per_hour: float, market: Market, own: Lium2026Policy) -> float:
    """The emission's share that pays idle cards what they are worth, at most the ceiling; 0 when a price is missing."""
    tao_usd, alpha_tao = (market.tokens.get(name, 0.0) for name in (TAO_USD, ALPHA_TAO))
    payout_usd = own.alpha_per_payout * tao_usd * alpha_tao
    if not payout_usd > 0.0:
        return 0.0
    return min(own.idle_pool_most, cost_usd_per_hour * own.payout_hours / own.miners_share / payout_usd)


def _pool(part: str, points: np.ndarray, total: float, share: float) -> Columns:
    rows = len(points)
    return {
        f"{part}_points": points,
        f"{part}_total": np.full(rows, total if total > 0.0 else 1.0),
        f"{part}_pool": np.full(rows, share),
    }


def _share(columns: Columns, part: str) -> np.ndarray:
    return columns[f"{part}_pool"] * columns[f"{part}_points"] / columns[f"{part}_total"]
