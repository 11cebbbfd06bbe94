"""What an operator has to hear of an epoch."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from storage.records import Event, PassRate, Reason, Severity, WeightOutcome, WeightStatus
from tasks.alarming import (
    BUDGET_EXHAUSTED,
    EPOCH_ENDED,
    PASS_RATE_FELL,
    WEIGHTS_SET,
    WEIGHTS_TROUBLE,
    news_of,
)
from tests.tasks.scoring.epochs import world


@pytest.fixture(scope="module")
def epoch():
    """An epoch in which all is well."""
    whole = world().epoch(7)
    return replace(whole, incidents=(), events=(), weight_outcome=ended(WeightStatus.CONFIRMED))


def ended(status, code=""):
    """How setting weights ended."""
    return WeightOutcome(status, code, "", 1, "", 0, (), ())


def incident(code):
    return Reason(code, Severity.NO_VERDICT, "", "", "")


def told(outcome, before=()):
    """The events, each with what it is about."""
    return [(news.event, news.about) for news in news_of(outcome, before)]


def shares(*shares, listed=20):
    """Epochs of which this share was proved."""
    return [PassRate(number, listed, round(share * listed)) for number, share in enumerate(shares)]


def test_of_an_epoch_in_which_all_is_well_there_is_little_to_say(epoch):
    """It ended, and its weights are set."""

    assert told(epoch) == [(EPOCH_ENDED, ""), (WEIGHTS_SET, "")]


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"incidents": (incident("WEIGHTS_DIFFER"),)}, "WEIGHTS_DIFFER"),
        ({"incidents": (incident("NO_VERDICTS"),), "weight_outcome": None}, "NO_VERDICTS"),
        ({"events": (Event(datetime.now(UTC), "WEIGHTS_UNSEEN", "epoch 3", ""),)}, "WEIGHTS_UNSEEN"),
        (
            {"weight_outcome": ended(WeightStatus.REFUSED, "NeuronNoValidatorPermit")},
            "NeuronNoValidatorPermit",
        ),
        ({"weight_outcome": ended(WeightStatus.UNKNOWN)}, "unknown"),
    ],
)
def test_weights_that_are_not_what_was_meant_are_told_with_their_code(epoch, changes, about):
    """Refused, unknown, different, not seen in time, or none at all."""

    assert (WEIGHTS_TROUBLE, about) in told(replace(epoch, **changes))


def test_weights_that_wait_for_the_next_tempo_are_no_trouble(epoch):
    """The chain's rate limit: neither set nor in trouble."""

    assert told(replace(epoch, weight_outcome=ended(WeightStatus.NOT_YET))) == [(EPOCH_ENDED, "")]


@pytest.mark.parametrize(
    ("now", "before", "falls"),
    [
        (0.9, shares(0.9, 0.9, 0.9, 0.9, 0.9, 0.9), False),
        (0.75, shares(0.9, 0.9, 0.9, 0.9, 0.9, 0.9), False),  # 0.75 > 0.8 x 0.9
        (0.7, shares(0.9, 0.9, 0.9, 0.9, 0.9, 0.9), True),
        (0.7, shares(0.9, 0.9, 0.9, 0.9, 0.9), False),  # five epochs say nothing
        (0.7, shares(0.9, 0.9, 0.9, 0.9, 0.9, 0.9, listed=4), False),  # nor do four machines
        (0.7, shares(0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1), True),  # the median forgives what was once
        (0.0, shares(0.0, 0.0, 0.0, 0.0, 0.0, 0.0), False),  # it can fall no further
    ],
)
def test_a_pass_rate_falls_when_a_fifth_of_what_is_usual_is_missing(epoch, now, before, falls):
    """Of the median of past epochs; with few epochs or few machines it says nothing."""
    machine = epoch.executors[0]
    verdict = epoch.verdicts[0]
    executors = tuple(replace(machine, executor_id=f"m-{n}") for n in range(20))
    verdicts = tuple(
        replace(verdict, severity=None if n < round(now * 20) else Severity.FAIL) for n in range(20)
    )
    outcome = replace(epoch, executors=executors, verdicts=verdicts)

    assert ((PASS_RATE_FELL, "") in told(outcome, before)) == falls


def test_a_chain_that_lets_calls_run_out_is_told(epoch):
    """By the incident of the call."""

    assert (BUDGET_EXHAUSTED, "chain") in told(replace(epoch, incidents=(incident("CHAIN_AWAY"),)))


@pytest.mark.parametrize(("late", "of", "is_told"), [(6, 20, True), (5, 20, False), (4, 4, False)])
def test_many_ssh_sessions_that_run_out_are_told(epoch, late, of, is_told):
    """More than a quarter of the machines, five of them at least: few are their own fault."""
    report = epoch.reports[0]
    reasons = (incident("HOST_TIMEOUT"),)
    reports = tuple(replace(report, reasons=reasons if n < late else ()) for n in range(of))
    executors = tuple(replace(epoch.executors[0], executor_id=f"m-{n}") for n in range(of))

    assert (
        (BUDGET_EXHAUSTED, "ssh") in told(replace(epoch, reports=reports, executors=executors))
    ) == is_told
