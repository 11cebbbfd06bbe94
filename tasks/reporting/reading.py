"""Reading a period: day by day, so that the rows of one day are all that is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from storage.places import Place
from tasks.reporting.days import Day, read_day
from tasks.reporting.false_zeros import Judge, Zeros
from tasks.reporting.frames import Frames
from tasks.reporting.period import Period
from tasks.reporting.step_times import added


def read_frames(root: Place, period: Period) -> Frames:
    """The archived epochs of a period; one day's rows are in memory at a time. Raises SchemaUnknown."""
    judge = Judge()
    return add_up(period, (read_day(root, day, judge) for day in period.every_day))


def add_up(period: Period, days: Iterable[Day]) -> Frames:
    """The days as one."""
    every = list(days)
    tried: dict[str, int] = {}
    for day in every:
        for stage, count in day.tried.items():
            tried[stage] = tried.get(stage, 0) + count
    found = _joined(day.checks for day in every)
    checks = found.groupby(["stage", "code", "severity"])["machines"].sum().reset_index()
    return Frames(
        period=period,
        epochs=_joined(day.epochs for day in every).sort_values("epoch", ignore_index=True),
        models=_joined(day.models for day in every),
        machines=_machines(_joined(day.machines for day in every)),
        miners=_joined(day.miners for day in every),
        checks=checks,
        tried=tried,
        shares=_shares(every),
        phases=_joined(day.phases for day in every),
        zeros=Zeros(_joined(day.zeros.judged for day in every), _joined(day.zeros.found for day in every)),
        steps=added([day.steps for day in every]),
        leases=_joined(day.leases for day in every),
        unread=tuple(text for day in every for text in day.unread),
    )


def _joined(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One below the other; frames without rows only say which columns there are."""
    every = list(frames)
    filled = [frame for frame in every if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else every[0].reset_index(drop=True)


def _machines(sums: pd.DataFrame) -> pd.DataFrame:
    """Sums of days as means of the period; what is listed is as the last day has it."""
    added = ["epochs", "passed", "score_sum", "gb_s_sum", "gb_s_count"]
    latest = [name for name in sums.columns if name not in (*added, "executor_key")]
    grouped = sums.groupby("executor_key", sort=True)
    whole = grouped[added].sum().join(grouped[latest].last()).reset_index()
    whole["score"] = whole["score_sum"] / whole["epochs"]
    whole["proved_gb_s"] = whole["gb_s_sum"] / whole["gb_s_count"].where(whole["gb_s_count"] > 0)
    return whole.drop(columns=["score_sum", "gb_s_sum", "gb_s_count"])


def _shares(days: Iterable[Day]) -> pd.DataFrame:
    """Means over the epochs that say anything: whoever is not in one has nothing there."""
    every = list(days)
    sums = _joined(day.shares for day in every)
    epochs = {kind: sum(day.share_epochs[kind] for day in every) for kind in ("incentive", "weight")}
    grouped = sums.groupby("hotkey", sort=True)
    whole = grouped[list(epochs)].sum().join(grouped["uid"].last()).reset_index()
    for kind, count in epochs.items():
        whole[kind] = whole[kind] / count if count else float("nan")
    return whole
