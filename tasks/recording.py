"""What an epoch adds to what is known of each machine: pure rules over records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from storage.records import EpochOutcome, ExecutorRecord, HostReport, Severity, Verdict
from tasks.inspection.checks import smooth
from tasks.policy import Policy

FORGIVEN_NO_VERDICTS = 1
"""Epochs in a row without a verdict that leave a machine's run of passed epochs as it is."""


def next_records(
    outcome: EpochOutcome, records: Mapping[str, ExecutorRecord], policy: Policy, now: datetime
) -> tuple[ExecutorRecord, ...]:
    """The records with the epoch counted into them: of its machines, and of those on a run that were not listed."""
    verdicts = {v.executor_key: v for v in outcome.verdicts}
    seen = tuple(
        next_record(
            records.get(r.executor_key) or ExecutorRecord(r.executor_key),
            r,
            verdicts.get(r.executor_key),
            policy,
            now,
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
    seen = replace(record, first_seen=record.first_seen or now, epochs_seen=record.epochs_seen + 1)
    if report.bandwidth is not None:
        weight = policy.inspection.bandwidth_smoothing
        seen = replace(
            seen,
            up_mbit_s=smooth(record.up_mbit_s, report.bandwidth.up_mbit_s, weight),
            down_mbit_s=smooth(record.down_mbit_s, report.bandwidth.down_mbit_s, weight),
        )
    if verdict is not None and verdict.proved and report.may_be_proved:
        return _passed(seen, report, now)
    if _has_failed(report, verdict):
        return replace(seen, consecutive_passed=0, passed_since=None, no_verdicts_in_a_row=0)
    return _unheard(seen)


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
        model=record.model or cards[0].model,
        card_count=record.card_count or len(cards),
        card_uuids=record.card_uuids or tuple(sorted(c.uuid for c in cards)),
    )


def _has_failed(report: HostReport, verdict: Verdict | None) -> bool:
    reasons = (*report.reasons, *(verdict.reasons if verdict else ()))
    return any(r.severity is Severity.FAIL for r in reasons)
