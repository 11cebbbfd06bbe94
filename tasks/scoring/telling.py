"""Every reason of a score at once: what inspection and proof said, and what its terms take off.

A reason fails only where its term is what makes the score 0, or where the machine has failed already: a machine that
nobody reached is told, but nothing is held against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from storage.records import Reason, Severity
from tasks.scoring.bills import TERMS
from tasks.scoring.formulas.bill import Bill, Given, Remark
from tasks.scoring.reasons import zero_term


def told(frame: pd.DataFrame, bill: Bill, given: Given) -> list[tuple[Reason, ...]]:
    """The reasons of every row, in the order of the remarks; every zero has one that decides."""
    reasons: list[tuple[Reason, ...]] = frame["reasons"].tolist()
    is_zero, passed = bill.columns["score"] == 0.0, frame["passed"].to_numpy() > 0.0
    may_fail = passed | frame["is_failed"].to_numpy()
    for remark in bill.remarks:
        which = remark.which & frame["is_seen"].to_numpy()
        is_effective = is_zero | (remark.term in given.shadow)
        fails = which & may_fail & is_effective & (bill.columns[remark.term] == 0.0)
        for at in np.flatnonzero(which & ~fails).tolist():
            reasons[at] = (*reasons[at], _warned(remark, at, given))
        for at in np.flatnonzero(fails).tolist():
            reasons[at] = (*reasons[at], _failed(remark, at, given))
    for at in np.flatnonzero(is_zero & passed).tolist():
        if not any(reason.decides for reason in reasons[at]):
            reasons[at] = (*reasons[at], _zero(bill, at, given))
    return reasons


def _warned(remark: Remark, at: int, given: Given) -> Reason:
    reason = remark.tell(at)
    if remark.term in given.shadow:
        return replace(reason, is_shadow=True)
    return reason if reason.severity is Severity.WARN else replace(reason, severity=Severity.WARN)


def _failed(remark: Remark, at: int, given: Given) -> Reason:
    reason = remark.tell(at)
    if reason.severity is Severity.WARN:
        reason = replace(reason, severity=Severity.FAIL)
    return replace(reason, is_shadow=True) if remark.term in given.shadow else reason


def _zero(bill: Bill, at: int, given: Given) -> Reason:
    names = [name for name in _counted(given) if bill.columns[name][at] == 0]
    return replace(zero_term(", ".join(f"{name} 0" for name in names)), severity=Severity.FAIL)


def _counted(given: Given) -> Iterable[str]:
    return (name for name in TERMS[given.policy.scoring.formula] if name not in given.shadow)
