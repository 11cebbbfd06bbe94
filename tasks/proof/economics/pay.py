"""What a machine earns an epoch that passes each proof with a given probability.

    income = rate x epoch's hours x performance x E[passed x uptime]                      [USD an epoch]

in which the emission pays what the market pays: with more or less, income and what the same outlay earns honestly
change alike. A failure costs the epoch and the unbroken run: uptime begins at its floor again. In the long run the
present epoch is the k-th passed in a row with probability (1 - p) p^k, and is paid u(k) = floor + (1 - floor) min(1,
(k - 1) / N), N epochs making the full ramp. So, with q = 1 - p,

    E = floor p + (1 - floor) p^2 (1 - p^N) / (q N)
"""

from __future__ import annotations

import math
from enum import StrEnum

from storage.records import BLOCKS_PER_EPOCH
from tasks.policy import ScoringPolicy

BLOCK_S = 12.0
EPOCH_S = BLOCKS_PER_EPOCH * BLOCK_S
EPOCH_HOURS = EPOCH_S / 3_600.0
EVEN = 0.02
"""Within so much of what the same outlay earns honestly, a cheat breaks even."""


class Outcome(StrEnum):
    """What a cheat comes to."""

    PAYS = "PAYS"
    EVEN = "even"
    LOSES = "loses"


def outcome(income_usd: float, honest_usd: float) -> Outcome:
    """A cheat's income against what the same outlay earns honestly."""
    if income_usd > (1.0 + EVEN) * honest_usd:
        return Outcome.PAYS
    return Outcome.EVEN if income_usd >= (1.0 - EVEN) * honest_usd else Outcome.LOSES


def ramp_epochs(scoring: ScoringPolicy) -> float:
    """N: epochs of unbroken passing until the uptime term is full."""
    return scoring.uptime_full_s / EPOCH_S


def expected_uptime(pass_probability: float, scoring: ScoringPolicy) -> float:
    """E[passed x uptime] in the long run: 1 for who always passes, 0 for who never does."""
    p, q, n = pass_probability, 1.0 - pass_probability, math.ceil(ramp_epochs(scoring))
    if q <= 0.0:
        return 1.0
    ramped = p * p * (1.0 - p**n) / (q * n) if n else p
    return scoring.uptime_floor * p + (1.0 - scoring.uptime_floor) * ramped


def tolerable_failure(gain: float, scoring: ScoringPolicy) -> float:
    """The chance of failing an epoch at which a cheat that multiplies income by `gain` breaks even."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if gain * expected_uptime(1.0 - middle, scoring) > 1.0 else (low, middle)
    return (low + high) / 2
