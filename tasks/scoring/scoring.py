"""Scores of an epoch: every term its own column, every zero with all its reasons. Pure: the moment is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from itertools import repeat
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from storage.records import Executor, Grounds, HostReport, Score, Verdict
from tasks.policy import Policy
from tasks.scoring.formulas import default, lium_2025, lium_2026
from tasks.scoring.formulas.bill import Bill, Columns, Given
from tasks.scoring.grace import with_grace
from tasks.scoring.machines import machines_frame
from tasks.scoring.market import Market
from tasks.scoring.telling import told
from tasks.shadow import enforced_scores

BILLS: Mapping[str, Callable[[pd.DataFrame, Given], Bill]] = MappingProxyType(
    {"default": default.bill, "lium-2025": lium_2025.bill, "lium-2026": lium_2026.bill}
)
_NEUTRAL = MappingProxyType({f.name: f.default if f.default is not MISSING else 1.0 for f in fields(Score)})
"""What a column of a score is under a formula that does not have it."""


def score_epoch(
    executors: Iterable[Executor],
    reports: Iterable[HostReport],
    verdicts: Iterable[Verdict],
    grounds: Grounds,
    policy: Policy,
) -> tuple[Score, ...]:
    """The score of every executor, in the order of their keys: of its arguments alone, so that a replay is a call."""
    frame = machines_frame(executors, reports, verdicts, grounds, policy)
    scores = with_grace(score_machines(frame, grounds, policy), grounds, policy.records)
    return enforced_scores(scores, policy.shadow)


def score_machines(frame: pd.DataFrame, grounds: Grounds, policy: Policy) -> tuple[Score, ...]:
    """The score of every row of the frame of `machines_frame`, in their order, before any grace.

    A row's score depends on other rows only through sums over a model, a bucket, a miner or a pool, each of them exact,
    so the order of the rows changes nothing. ValueError when a term is not a finite number.
    """
    shadow = frozenset(policy.shadow.terms)
    given = Given(Market(grounds.quotes, policy), policy, shadow, grounds.scored_at)
    make = BILLS[policy.scoring.formula]
    bill = make(frame, given)
    _refuse_what_is_no_number(frame, bill.columns)
    enforced = make(frame, given._replace(shadow=frozenset())) if shadow else bill
    more = {"enforced_score": enforced.columns["score"].tolist(), "reasons": told(frame, bill, given)}
    known = {name: values.tolist() for name, values in bill.columns.items()} | more
    return _scores(len(frame), dict(_columns(frame, known, policy.scoring.formula)))


def _scores(rows: int, columns: Mapping[str, Iterable[Any]]) -> tuple[Score, ...]:
    """The records of these columns, set a column at a time: a third of the time that their constructor takes."""
    scores = tuple(map(object.__new__, repeat(Score, rows)))
    for name, values in columns.items():
        deque(map(getattr(Score, name).__set__, scores, values), maxlen=0)
    return scores


def _columns(
    frame: pd.DataFrame, known: Mapping[str, list[Any]], formula: str
) -> Iterator[tuple[str, Iterable[Any]]]:
    """The values of each field of a score: of the bill, else of the frame, else neutral."""
    for field in fields(Score):
        if field.name in known:
            yield field.name, known[field.name]
        elif field.name == "formula":
            yield field.name, repeat(formula)
        elif field.name in frame:
            yield field.name, frame[field.name].tolist()
        else:
            yield field.name, repeat(_NEUTRAL[field.name])


def _refuse_what_is_no_number(frame: pd.DataFrame, columns: Columns) -> None:
    for name, values in columns.items():
        is_number = np.isfinite(values)
        if not is_number.all():
            row = int(np.argmin(is_number))
            key = frame["executor_key"].iloc[row]
            raise ValueError(f"{name} of executor {key!r} is not a finite number: {values[row]}")
