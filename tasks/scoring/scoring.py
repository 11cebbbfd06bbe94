"""Scores of an epoch: every term its own column, every zero with all its reasons. Pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from storage.records import Executor, Grounds, HostReport, Reason, Score, Severity, Verdict
from tasks.policy import Policy
from tasks.scoring import terms
from tasks.scoring.grace import with_grace
from tasks.scoring.machines import machines_frame, scores_of

RAO_PER_ALPHA = 1_000_000_000
TERMS = ("rate_usd_per_hour", "card_count", "performance", "bandwidth", "uptime", "collateral", "passed")
"""The factors of a score: their product, in this order, is `score`."""


def score_epoch(
    executors: Iterable[Executor],
    reports: Iterable[HostReport],
    verdicts: Iterable[Verdict],
    grounds: Grounds,
    policy: Policy,
) -> tuple[Score, ...]:
    """The score of every executor, in the order of their keys: of its arguments alone, so that a replay is a call."""
    frame = machines_frame(executors, reports, verdicts, grounds, policy)
    scores = scores_of(score_machines(frame, policy, grounds.scored_at))
    return with_grace(scores, grounds, policy.records)


def score_machines(frame: pd.DataFrame, policy: Policy, now: datetime) -> pd.DataFrame:
    """The frame of `machines_frame` with the terms and their product as further columns, rows as they were.

    A row's score depends on other rows only through its model's median and its miner's collateral, so the order of the
    rows changes nothing. ValueError when a term is not a finite number.
    """
    scored = frame.assign(
        performance=terms.performance(
            frame["proved_gb_s"],
            frame["reference_gb_s"],
            frame["model"],
            frame["passed"],
            frame["is_leased"],
            frame["unproven"],
            scoring=policy.scoring,
            proof=policy.proof,
        ),
        bandwidth=terms.bandwidth(
            frame["up_mbit_s"], frame["down_mbit_s"], policy.scoring, policy.inspection
        ),
        uptime=terms.uptime(frame["passed_since"], now, policy.scoring),
        collateral=terms.collateral(
            frame["miner_hotkey"], frame["card_count"], frame["locked_rao"], policy.scoring
        ),
    )
    scored["score"] = scored[list(TERMS)].to_numpy(dtype="float64").prod(axis=1)
    _refuse_what_is_no_number(scored)
    needed = terms.needed_rao(scored["miner_hotkey"], scored["card_count"], policy.scoring)
    _tell(scored, scored["collateral"] < 1.0, lambda row: _short(row.locked_rao, needed[row.Index]))
    _tell(scored, (scored["passed"] > 0) & (scored["score"] == 0), _zero_term)
    return scored


def _refuse_what_is_no_number(scored: pd.DataFrame) -> None:
    is_number = np.isfinite(scored[[*TERMS, "score"]].to_numpy(dtype="float64"))
    if not is_number.all():
        row, column = np.argwhere(~is_number)[0]
        name, key = (*TERMS, "score")[column], scored["executor_key"].iloc[row]
        raise ValueError(f"{name} of executor {key!r} is not a finite number: {scored[name].iloc[row]}")


def _tell(scored: pd.DataFrame, which: pd.Series[bool], reason_of: Callable[[Any], Reason]) -> None:
    """Add a reason to the rows that are meant."""
    if not which.any():
        return
    meant = scored[which]
    rows = zip(meant["reasons"], meant.itertuples(), strict=True)
    told = [(*reasons, reason_of(row)) for reasons, row in rows]
    scored.loc[which, "reasons"] = pd.Series(told, index=scored.index[which], dtype="object")


def _short(locked_rao: int, needed_rao: int) -> Reason:
    return Reason(
        "COLLATERAL_SHORT",
        Severity.WARN,
        f"{locked_rao / RAO_PER_ALPHA:.9f} locked",
        f"{needed_rao / RAO_PER_ALPHA:.9f} for the cards of all machines",
        "Lock more collateral for the miner's hotkey; until then the score is reduced.",
    )


def _zero_term(row: Any) -> Reason:
    zero = [name for name in TERMS if getattr(row, name) == 0]
    return Reason(
        "TERM_IS_ZERO",
        Severity.FAIL,
        ", ".join(f"{name} 0" for name in zero) or "a score too small for a number",
        "every term above 0",
        "The policy gives nothing for this yet: see its rates and floors.",
    )
