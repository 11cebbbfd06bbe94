"""What a miner gains by choosing when to pass, to fail and to be silent: records and scores, epoch after epoch."""

from dataclasses import replace
from datetime import timedelta

import pytest

from storage.records import ExecutorRecord, HostFacts, Reason, Severity
from tasks.policy import DEFAULT
from tasks.recording import next_record, with_score
from tasks.scoring.scoring import score_epoch
from tests.tasks.scoring.worlds import NOW, executor, grounds, record, report, verdict, view

EPOCHS = 84
AWAY = Reason("HOST_UNREACHABLE", Severity.NO_VERDICT, "silence", "an answer", "See that it is up.")
USED = Reason("GPU_USAGE_HIGH", Severity.FAIL, "90 %", "5 %", "Stop it.")
WRONG = Reason("WALK_STATE_WRONG", Severity.FAIL, "", "", "")
LONG_UP = timedelta(days=30)


def earned(*names, play):
    """The sum of all scores of one miner's machines, established long ago, over honest passing with one of them."""
    machines = [executor(name=name) for name in names]
    known = {one.key: replace(record(one, passed_for=LONG_UP), epochs_passed=0) for one in machines}
    total = sum(_epoch(machines, known, number, play) for number in range(EPOCHS))
    alone = executor(name="honest")
    honest = {alone.key: record(alone, passed_for=LONG_UP)}
    return total / sum(_epoch([alone], honest, number, lambda *_: "pass") for number in range(EPOCHS))


def _epoch(machines, known: dict[str, ExecutorRecord], number, play):
    now = NOW + number * timedelta(minutes=10)
    found = [_found(one, play(number, one.executor_id)) for one in machines]
    reports, verdicts = [told for told, _ in found], [judged for _, judged in found if judged]
    given = grounds(view("5Alice"), list(known.values()), now=now)
    scores = {s.executor_key: s for s in score_epoch(machines, reports, verdicts, given, DEFAULT)}
    for told, judged in found:
        key = told.executor_key
        known[key] = with_score(next_record(known[key], told, judged, DEFAULT, now), scores[key], number)
    return sum(score.score for score in scores.values())


def _found(machine, what):
    match what:
        case "away":
            return replace(report(machine, reasons=(AWAY,)), facts=HostFacts()), None
        case "use":
            return report(machine, reasons=(USED,)), None
        case "fail":
            return report(machine), verdict(machine, 4_800.0, severity=Severity.FAIL, reasons=(WRONG,))
    return report(machine), verdict(machine, 4_800.0)


def in_turn(idle):
    """One card behind two names: each epoch one of them passes, and this is what the other does."""
    return lambda number, name: "pass" if number % 2 == (name == "a") else idle


@pytest.mark.parametrize(
    ("names", "play", "most"),
    [
        (("a", "b"), in_turn("away"), 1.08),  # a kept score for twenty passed epochs, and the first
        (("a", "b"), in_turn("fail"), 0.10),  # a failed proof ends the run
        (("a",), lambda number, _: "use" if number % 3 == 2 else "pass", 0.25),  # own use beyond the budget
        (("a",), lambda number, _: "away" if number % 2 else "pass", 0.58),
        (("a",), lambda number, _: ("pass", "use", "away")[number % 3], 0.10),
    ],
)
def test_no_order_of_passing_failing_and_silence_pays(names, play, most):
    """At most as much as honest work, and the twentieth that is forgiven."""

    assert earned(*names, play=play) <= most
