"""What a report is made of: the history's rows of some days, added up day by day so that a month fits into memory.

epochs    a row an epoch: epoch, started_at, finished_at (UTC), what ran and what became of the weights, memory_scale,
          formula (of its scores; none where there are none)
models    a row an epoch and model: machines, cards, passed_machines, passed_cards, listed_bytes, proved_bytes
machines  a row a machine: miner_hotkey, miner_uid, model, cards, price_usd_per_hour (as last listed), epochs, passed,
          score (mean, in the formula's unit), proved_gb_s (all cards together, mean of the passed; NaN without)
miners    a row an epoch and miner: miner_uid, machines, passed, failed
checks    a row a stage, code and severity (of a reason, or SHADOW): machines (those that got it, counted once an epoch)
shares    a row a hotkey: uid, incentive, weight (means over the epochs that have them)
phases    a row an epoch and phase: seconds
zeros     what came of judging epochs by their neighbours (tasks/reporting/false_zeros.py)
steps     a row a step of inspection or proof and bin of durations: machines, seconds (tasks/reporting/step_times.py)
leases    a row an epoch with listed machines: leases, leased_cards, listed_cards, usd_per_hour
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from tasks.reporting.false_zeros import Zeros
from tasks.reporting.period import Period


@dataclass(frozen=True, slots=True)
class Frames:
    """The rows of a period, added up; columns stand in the module's docstring."""

    period: Period
    epochs: pd.DataFrame
    models: pd.DataFrame
    machines: pd.DataFrame
    miners: pd.DataFrame
    checks: pd.DataFrame
    tried: Mapping[str, int]
    """By stage: how many were checked, a machine (at discovery: a miner) counted once an epoch."""
    shares: pd.DataFrame
    phases: pd.DataFrame
    zeros: Zeros
    steps: pd.DataFrame
    leases: pd.DataFrame
    unread: tuple[str, ...] = ()
    """Files that can't be read, in words."""
