"""Grace: an epoch without a verdict is not a failed one, so the last score is kept, once in a row and within a budget.

Pure: of the scores, the records among the grounds and the policy alone, so that a replay is a call. A kept score has
`passed` 0, so that it never counts as having heard the machine, and says so with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from storage.records import ExecutorRecord, Grounds, Reason, Score, Severity
from tasks.policy import RecordPolicy

KEPT_LAST_SCORE = "KEPT_LAST_SCORE"


def with_grace(scores: Iterable[Score], grounds: Grounds, policy: RecordPolicy) -> tuple[Score, ...]:
    """The scores in their order; where nothing was found out about a machine, its last one for one epoch."""
    listed = tuple(scores)
    if all(score.score > 0.0 for score in listed):
        return listed
    records = {standing.executor_key: standing.record for standing in grounds.standings}
    return tuple(
        score
        if score.score > 0.0 or score.passed > 0.0
        else _graced(score, records.get(score.executor_key), policy)
        for score in listed
    )


def is_kept(score: Score) -> bool:
    """Whether it is the score of an earlier epoch."""
    return any(reason.code == KEPT_LAST_SCORE for reason in score.reasons)


def _graced(score: Score, record: ExecutorRecord | None, policy: RecordPolicy) -> Score:
    if record is None or not _is_unheard(score) or not may_keep(record, policy):
        return score
    # Nothing is known of this epoch's terms, so what is in shadow changes the kept score as little as the others.
    enforced = None if score.enforced_score is None else record.last_score
    kept = (*score.reasons, _kept(record))
    return replace(score, score=record.last_score, enforced_score=enforced, reasons=kept)


def _is_unheard(score: Score) -> bool:
    """Whether nothing but silence speaks against it."""
    deciding = [reason for reason in score.reasons if reason.decides]
    return bool(deciding) and not any(reason.fails for reason in deciding)


def may_keep(record: ExecutorRecord, policy: RecordPolicy) -> bool:
    """Whether the record's last score would be kept, once nothing is found out about its machine."""
    is_first = record.no_verdicts_in_a_row < policy.grace_epochs
    is_within = record.kept_scores * policy.grace_budget <= record.epochs_passed
    return record.last_score > 0.0 and is_first and is_within


def _kept(record: ExecutorRecord) -> Reason:
    return Reason(
        KEPT_LAST_SCORE,
        Severity.WARN,
        f"the score of epoch {record.last_score_epoch}: {record.last_score:.6g}",
        "a verdict of this epoch",
        "Be reachable in the next epoch: a second one in a row without a verdict is not paid.",
    )
