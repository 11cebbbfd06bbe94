"""What an epoch adds to what is known of a machine."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from storage.records import (
    Bandwidth,
    Card,
    EpochOutcome,
    EpochState,
    ExecutorRecord,
    HostFacts,
    HostReport,
    Reason,
    Score,
    Severity,
    Verdict,
)
from tasks.inspection.ours import CARRIED_OVER, VALIDATOR_FAILED
from tasks.policy import DEFAULT, LIUM_2025, LIUM_2026
from tasks.recording import FAILURE_BUDGET, is_exhausted, next_record, next_records, resets_of, with_score
from tasks.scoring.grace import KEPT_LAST_SCORE

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=1)
CARD = Card(0, "GPU-1", "NVIDIA L4", 23_034, "580.65", None, None, None, None, None, None, None, None)
AWAY = Reason("HOST_UNREACHABLE", Severity.NO_VERDICT, "", "", "")
FULL = Reason("DISK_BELOW_MINIMUM", Severity.FAIL, "", "", "")
MOVED = Reason("GPU_UUID_CHANGED", Severity.FAIL, "", "", "")
WRONG = Reason("WALK_STATE_WRONG", Severity.FAIL, "", "", "")


def report(*reasons: Reason, bandwidth: Bandwidth | None = None) -> HostReport:
    return HostReport("m/1", HostFacts(cards=(CARD,)), (), bandwidth, reasons, 0.0, 0.0)


def verdict(severity: Severity | None = None, *reasons: Reason) -> Verdict:
    return Verdict("m/1", "PROVED" if severity is None else "X", severity, (), reasons, b"", 0)


def test_a_first_pass_fixes_the_spec_and_begins_the_run():
    """The model, the count and the cards of the first passed epoch are what later ones are held to."""

    record = next_record(ExecutorRecord("m/1"), report(), verdict(), DEFAULT, NOW)

    assert record == ExecutorRecord(
        "m/1", NOW, 1, 1, 1, NOW, model="NVIDIA L4", card_count=1, card_uuids=("GPU-1",), verified_count=1
    )


def test_a_later_pass_keeps_the_begin():
    """The run of passed epochs goes on from where it began."""

    known = ExecutorRecord("m/1", EARLIER, 5, 5, 5, EARLIER, "NVIDIA L4", 1, ("GPU-1",))

    record = next_record(known, report(), verdict(), DEFAULT, NOW)

    assert (record.passed_since, record.consecutive_passed, record.epochs_seen) == (EARLIER, 6, 6)


def test_a_failure_ends_the_run():
    """A failed proof or inspection sets the run of passed epochs back to nothing."""

    known = ExecutorRecord("m/1", EARLIER, 5, 5, 5, EARLIER)

    for failed in (
        next_record(known, report(), verdict(Severity.FAIL, WRONG), DEFAULT, NOW),
        next_record(known, report(WRONG), None, DEFAULT, NOW),
    ):
        assert (failed.passed_since, failed.consecutive_passed, failed.epochs_passed) == (None, 0, 5)


def test_no_verdict_is_forgiven_once():
    """A machine that could not be reached keeps its run for one epoch; the second epoch in a row ends it."""

    known = ExecutorRecord("m/1", EARLIER, 5, 5, 5, EARLIER)

    once = next_record(known, report(AWAY), None, DEFAULT, NOW)
    twice = next_record(once, report(AWAY), None, DEFAULT, NOW)

    assert (once.passed_since, once.consecutive_passed, once.epochs_seen) == (EARLIER, 5, 6)
    assert (twice.passed_since, twice.consecutive_passed) == (None, 0)


def test_a_pass_wipes_the_silence_out():
    """After a passed epoch the next silence is the first again."""

    known = ExecutorRecord("m/1", EARLIER, 5, 5, 5, EARLIER, no_verdicts_in_a_row=1)

    record = next_record(
        next_record(known, report(), verdict(), DEFAULT, NOW), report(AWAY), None, DEFAULT, NOW
    )

    assert (record.passed_since, record.no_verdicts_in_a_row) == (EARLIER, 1)


def test_a_machine_that_is_not_listed_is_silent():
    """A machine that vanishes from its miner's list loses its run like one that does not answer."""

    gone = ExecutorRecord("m/2", EARLIER, 5, 5, 5, EARLIER, no_verdicts_in_a_row=1)
    empty = EpochOutcome(1, 51, 50, "0x", "v", "p", "d", "0", NOW, NOW, EpochState.OPEN, reports=(report(),))

    records = {r.executor_key: r for r in next_records(empty, {"m/2": gone}, DEFAULT, NOW)}

    assert records["m/2"].passed_since is None
    assert set(records) == {"m/1", "m/2"}


def test_a_failed_first_epoch_fixes_nothing():
    """What a machine only announced is not what later epochs are held to."""

    record = next_record(ExecutorRecord("m/1"), report(WRONG), None, DEFAULT, NOW)

    assert (record.model, record.card_uuids, record.first_seen) == (None, (), NOW)


def test_bandwidth_is_smoothed():
    """The newest sample weighs half: 100 and then 300 Mbit/s are 200."""

    known = ExecutorRecord("m/1", EARLIER, up_mbit_s=100.0, down_mbit_s=50.0)

    record = next_record(known, report(bandwidth=Bandwidth(300.0, 150.0, 1)), verdict(), DEFAULT, NOW)

    assert (record.up_mbit_s, record.down_mbit_s) == (200.0, 100.0)


def test_a_proof_of_an_older_report_is_no_pass():
    """A verdict beside a report that lets nothing be proved belongs to a run that died: the report decides."""

    empty = HostReport("m/1", HostFacts(), (), None, (AWAY,), 0.0, 0.0)

    record = next_record(ExecutorRecord("m/1"), empty, verdict(), DEFAULT, NOW)

    assert (record.passed_since, record.epochs_passed, record.no_verdicts_in_a_row) == (None, 0, 1)


def test_the_first_pass_dates_the_claim():
    """Waiting makes no claim older: `first_seen` is of the first passed epoch once there is one, and stays."""

    waiting = next_record(ExecutorRecord("m/1"), report(WRONG), None, DEFAULT, EARLIER)
    passed = next_record(waiting, report(), verdict(), DEFAULT, NOW)
    later = next_record(passed, report(), verdict(), DEFAULT, NOW + timedelta(days=1))

    assert (waiting.first_seen, passed.first_seen, later.first_seen) == (EARLIER, NOW, NOW)


@pytest.mark.parametrize(
    ("failed", "count", "resets"),
    [(1, 21, False), (1, 20, True), (2, 40, True), (2, 41, False), (1, 1, True)],
)
def test_the_failure_budget_is_five_per_cent(failed, count, resets):
    """Failures x 20 >= verdicts is a reset: one failure in 21 verdicts is kept, one in 20 is not."""

    assert is_exhausted(failed, count, 20) is resets


@pytest.mark.parametrize("policy", [DEFAULT, LIUM_2025, LIUM_2026], ids=lambda policy: policy.name)
@pytest.mark.parametrize(("count", "kept"), [(20, True), (19, False)])
def test_a_failure_within_the_budget_breaks_no_run(count, kept, policy):
    """The 21st verdict may be a failed one: the run and the counters stay; as the 20th it ends both."""

    known = ExecutorRecord("m/1", EARLIER, count, count, count, EARLIER, verified_count=count)

    record = next_record(known, report(FULL), None, policy, NOW)

    assert record.passed_since == (EARLIER if kept else None)
    assert (record.verified_count, record.verified_failed) == ((21, 1) if kept else (0, 0))
    assert (record.resets, record.reset_code) == ((0, "") if kept else (1, FAILURE_BUDGET))


def test_some_failures_no_budget_covers():
    """Other cards than before, and by default a failed proof: a reset at once, which names the reason and forgets no card."""

    known = ExecutorRecord(
        "m/1", EARLIER, 500, 500, 500, EARLIER, "NVIDIA L4", 1, ("GPU-1",), verified_count=500
    )
    lenient = replace(DEFAULT, records=replace(DEFAULT.records, is_proof_strict=False))

    moved = next_record(known, report(FULL, MOVED), None, DEFAULT, NOW)
    failed = next_record(known, report(), verdict(Severity.FAIL, WRONG), DEFAULT, NOW)
    forgiven = next_record(known, report(), verdict(Severity.FAIL, WRONG), lenient, NOW)

    assert (moved.reset_code, moved.reset_at, moved.passed_since) == ("GPU_UUID_CHANGED", NOW, None)
    assert (moved.model, moved.card_uuids) == ("NVIDIA L4", ("GPU-1",))
    assert (failed.reset_code, failed.passed_since) == ("WALK_STATE_WRONG", None)
    assert (forgiven.resets, forgiven.passed_since) == (0, EARLIER)


def test_a_reset_is_an_event_with_its_reason():
    """Whose record was set back, why, and what it had; a machine that has nothing to lose is no news."""

    known = ExecutorRecord("m/1", EARLIER, 5, 5, 5, EARLIER, verified_count=5)
    after = next_record(known, report(FULL), None, DEFAULT, NOW)
    again = next_record(after, report(FULL), None, DEFAULT, NOW)

    (event,) = resets_of({"m/1": known}, [after], NOW)

    assert (event.kind, event.subject) == ("RECORD_RESET", "m/1")
    assert event.message == "FAILURE_BUDGET: 1 of 6 verdicts failed; unbroken since 2026-11-21 12:00 UTC"
    assert resets_of({"m/1": after}, [again], NOW) == ()


def test_a_check_in_shadow_breaks_nothing():
    """What failed in shadow is no failure: a proof beside it passes."""

    record = next_record(
        ExecutorRecord("m/1"), report(replace(WRONG, is_shadow=True)), verdict(), DEFAULT, NOW
    )

    assert (record.passed_since, record.verified_failed) == (NOW, 0)


def test_the_last_score_is_that_of_the_last_verdict():
    """A paid epoch and a failed one are remembered; one without a verdict only counts what was kept."""

    seen = ExecutorRecord("m/1", last_score=0.4, last_score_epoch=6)
    kept = Reason(KEPT_LAST_SCORE, Severity.WARN, "", "", "")

    def score(value: float, *reasons: Reason) -> Score:
        return Score("m/1", "m", 4, "L4", 1, 0, 0.11, 1, 1, 1, 1, 1.0, value, reasons)

    paid = with_score(seen, score(0.5), 7)
    failed = with_score(seen, score(0.0, WRONG), 7)
    silent = with_score(replace(seen, no_verdicts_in_a_row=1), score(0.4, AWAY, kept), 7)

    assert (paid.last_score, paid.last_score_epoch) == (0.5, 7)
    assert (failed.last_score, failed.last_score_epoch) == (0.0, 7)
    assert (silent.last_score, silent.last_score_epoch, silent.kept_scores) == (0.4, 6, 1)


@pytest.mark.parametrize("code", [CARRIED_OVER, VALIDATOR_FAILED])
def test_what_is_no_machines_doing_leaves_its_record(code):
    """Of a machine that the epoch did not come to, nothing is counted but that: neither a verdict missed nor a score of 0."""

    known = ExecutorRecord(
        "m/1", EARLIER, 5, 5, 5, EARLIER, "NVIDIA L4", 1, ("GPU-1",), last_score=0.7, last_score_epoch=6
    )
    unvisited = report(Reason(code, Severity.NO_VERDICT, "", "", ""))
    nothing = Score("m/1", "m", 4, "L4", 1, 0, 0.11, 1, 1, 1, 1, 1.0, 0.0, unvisited.reasons)
    outcome = EpochOutcome(
        7,
        51,
        350,
        "0x",
        "v",
        "p",
        "d",
        "0",
        NOW,
        NOW,
        EpochState.OPEN,
        reports=(unvisited,),
        scores=(nothing,),
    )

    (after,) = next_records(outcome, {"m/1": known}, DEFAULT, NOW)
    (again,) = next_records(outcome, {"m/1": after}, DEFAULT, NOW)

    assert after == replace(known, carried_over=1)
    assert again == replace(known, carried_over=2)


def test_a_machine_that_is_come_to_waits_no_longer():
    """However its visit ends, it takes its turn with the others again."""

    waiting = ExecutorRecord("m/1", EARLIER, carried_over=3)

    for found in (report(), report(WRONG), report(AWAY)):
        assert next_record(waiting, found, None, DEFAULT, NOW).carried_over == 0
