"""What an epoch adds to what is known of each machine: pure rules over records.

A verdict is counted: `verified_count`, and `verified_failed` when it failed. A failure within the budget costs its epoch
and nothing else; one beyond it, or of a kind that no budget covers, is a reset: both counters are 0 again and the run of
passed epochs ends. A reset forgets neither model nor cards: only a swap that the miner has signed does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from storage.records import EpochOutcome, Event, ExecutorRecord, HostReport, Reason, Score, Verdict
from tasks.inspection.checks import smooth
from tasks.inspection.ours import is_ours
from tasks.policy import Policy, RecordPolicy
from tasks.scoring.grace import is_kept

FORGIVEN_NO_VERDICTS = 1
"""Epochs in a row without a verdict that leave a machine's run of passed epochs as it is."""
FAILURE_BUDGET = "FAILURE_BUDGET"
RECORD_RESET = "RECORD_RESET"


def next_records(
    outcome: EpochOutcome, records: Mapping[str, ExecutorRecord], policy: Policy, now: datetime
) -> tuple[ExecutorRecord, ...]:
    """The records with the epoch counted into them: of its machines, and of those on a run that were not listed."""
    verdicts = {v.executor_key: v for v in outcome.verdicts}
    scores = {s.executor_key: s for s in outcome.scores}
    seen = tuple(
        with_score(
            next_record(
                records.get(r.executor_key) or ExecutorRecord(r.executor_key),
                r,
                verdicts.get(r.executor_key),
                policy,
                now,
            ),
            None if is_ours(r) else scores.get(r.executor_key),
            outcome.epoch,
        )
        for r in outcome.reports
    )
    listed = {r.executor_key for r in outcome.reports}
    missing = (r for key, r in records.items() if key not in listed and r.passed_since is not None)
    return seen + tuple(_unheard(record) for record in missing)


def next_record(
    record: ExecutorRecord, report: HostReport, verdict: Verdict | None, policy: Policy, now: datetime
) -> ExecutorRecord:
    """One machine's record after this epoch.

    No verdict is not a failed verdict: one epoch of it breaks no run of passed epochs, a second in a row does. The
    model, the count and the cards are those of the first epoch that was passed: nobody can be announced into a spec,
    and `first_seen` is since when it has been seen with these cards: waiting without any makes no claim older.
    """
    if is_ours(report):
        return replace(record, carried_over=record.carried_over + 1)
    seen = replace(
        record, carried_over=0, first_seen=record.first_seen or now, epochs_seen=record.epochs_seen + 1
    )
    if report.bandwidth is not None:
        weight = policy.inspection.bandwidth_smoothing
        seen = replace(
            seen,
            up_mbit_s=smooth(record.up_mbit_s, report.bandwidth.up_mbit_s, weight),
            down_mbit_s=smooth(record.down_mbit_s, report.bandwidth.down_mbit_s, weight),
        )
    if verdict is not None and verdict.proved and report.may_be_proved:
        return _passed(seen, report, now)
    failures = [r for r in (*report.reasons, *(verdict.reasons if verdict else ())) if r.fails]
    if failures:
        proof_failed = verdict is not None and any(r.fails for r in verdict.reasons)
        return _failed(seen, failures, policy.records, now, proof_failed=proof_failed)
    return _unheard(seen)


def with_score(record: ExecutorRecord, score: Score | None, epoch: int) -> ExecutorRecord:
    """The record with the epoch's score as the last one; without a verdict it only counts a score that was kept."""
    if score is None:
        return record
    if record.no_verdicts_in_a_row:
        return replace(record, kept_scores=record.kept_scores + int(is_kept(score)))
    return replace(record, last_score=score.score, last_score_epoch=epoch)


def is_exhausted(failed: int, count: int, budget: int) -> bool:
    """Whether so many failures of so many verdicts are more than the budget: 1 of 20 is, 1 of 21 is not, at 5 %."""
    return failed * budget >= count


def resets_of(
    before: Mapping[str, ExecutorRecord], after: Iterable[ExecutorRecord], now: datetime
) -> tuple[Event, ...]:
    """An event for each record that this epoch has set back, with its reason."""
    return tuple(
        Event(now, RECORD_RESET, record.executor_key, _told(record, before[record.executor_key]))
        for record in after
        if record.executor_key in before and record.resets > before[record.executor_key].resets
    )


def _told(record: ExecutorRecord, before: ExecutorRecord) -> str:
    failed, count = before.verified_failed + 1, before.verified_count + 1
    since = f"; unbroken since {before.passed_since:%Y-%m-%d %H:%M} UTC" if before.passed_since else ""
    return f"{record.reset_code}: {failed} of {count} verdicts failed{since}"


def _unheard(record: ExecutorRecord) -> ExecutorRecord:
    silent = record.no_verdicts_in_a_row + 1
    if silent <= FORGIVEN_NO_VERDICTS:
        return replace(record, no_verdicts_in_a_row=silent)
    return replace(record, no_verdicts_in_a_row=silent, consecutive_passed=0, passed_since=None)


def _passed(record: ExecutorRecord, report: HostReport, now: datetime) -> ExecutorRecord:
    cards = report.facts.cards
    return replace(
        record,
        first_seen=record.first_seen if record.card_uuids else now,
        epochs_passed=record.epochs_passed + 1,
        consecutive_passed=record.consecutive_passed + 1,
        passed_since=record.passed_since or now,
        no_verdicts_in_a_row=0,
        verified_count=record.verified_count + 1,
        model=record.model or cards[0].model,
        card_count=record.card_count or len(cards),
        card_uuids=record.card_uuids or tuple(sorted(c.uuid for c in cards)),
        announced_uuids=(),
    )


def _failed(
    record: ExecutorRecord,
    failures: list[Reason],
    policy: RecordPolicy,
    now: datetime,
    *,
    proof_failed: bool,
) -> ExecutorRecord:
    failed = replace(
        record,
        consecutive_passed=0,
        no_verdicts_in_a_row=0,
        verified_count=record.verified_count + 1,
        verified_failed=record.verified_failed + 1,
    )
    at_once = next((r.code for r in failures if r.code in policy.reset_codes), "")
    if not at_once and proof_failed and policy.is_proof_strict:
        at_once = failures[-1].code
    if not at_once and not is_exhausted(failed.verified_failed, failed.verified_count, policy.failure_budget):
        return failed
    zeroed = replace(failed, verified_count=0, verified_failed=0, passed_since=None)
    if record.verified_count == 0 and record.passed_since is None:
        # Nothing is lost: a machine that only fails is no news in every epoch.
        return zeroed
    return replace(zeroed, resets=record.resets + 1, reset_at=now, reset_code=at_once or FAILURE_BUDGET)
