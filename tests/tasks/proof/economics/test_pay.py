"""What passing with a probability earns: closed forms against draws, by the real rules for places, ramp and records."""

import random
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from storage.records import ExecutorRecord, Severity
from tasks.inspection.models import MODELS
from tasks.policy import DEFAULT, LOCALNET, ScoringPolicy
from tasks.proof.challenge import Origin, challenge_for
from tasks.proof.conversation import Exchange, Reply
from tasks.proof.economics.claims import claim
from tasks.proof.economics.pay import (
    EPOCH_S,
    Outcome,
    expected_uptime,
    outcome,
    ramp_epochs,
    tolerable_failure,
)
from tasks.proof.economics.work import segments_invented
from tasks.proof.opening import drawn_places
from tasks.recording import next_record
from tasks.scoring.terms import uptime
from tests.storage.outcomes import NOON
from tests.tasks.proof.archives import archived, talk_to

DRAWS = 3_000


@pytest.mark.parametrize("share", [0.01, 0.10, 0.30])
def test_invented_parts_are_found_as_often_as_said(share):
    """Places drawn by the protocol's own rule meet no invented segment in (1 - x)^4, no tile made up in (1 - x)^8 of the draws."""
    of = claim(MODELS[0], DEFAULT)
    rng, p = random.Random(7), of.parameters
    origin = Origin(51, 1_000, "0x" + "ab" * 32, "5V", "5M", "m", 1)
    walked = multiplied = 0
    for _ in range(DRAWS):
        challenge = challenge_for(origin, of.cards.sku, [(0, "GPU-0")], DEFAULT.proof, rng.randbytes)
        exchanges = [Exchange(rng.randbytes(32), (rng.randbytes(32),), 0.0, 0.4) for _ in range(p.rounds + 1)]
        reply = Reply(0.0, tuple(exchanges[:-1]), exchanges[-1], (), 0.0, 0)
        places = drawn_places(challenge, reply, 0)
        walked += all(leaf >= share * p.leaves for leaf in places.segments)
        multiplied += all(tile.index >= share * p.tile_count for tile in places.tiles)
    for count, chance in ((walked, (1 - share) ** 4), (multiplied, (1 - share) ** 8)):
        sigma = (chance * (1 - chance) / DRAWS) ** 0.5
        assert abs(count / DRAWS - chance) < 4 * sigma
    chances = {a.cheat: a.pass_probability for a in segments_invented(of)}
    assert chances[f"{100 * share:.0f} % of the segments invented"] == pytest.approx((1 - share) ** 4)


@pytest.mark.parametrize("probability", [0.3, 0.9, 0.97])
def test_the_ramp_in_closed_form_is_the_drawn_one(probability):
    """A long run of epochs, paid by the real uptime term, has the mean of the closed form."""
    scoring = ScoringPolicy(uptime_full_s=10 * EPOCH_S)
    passing_s = np.array([np.nan, *(k * EPOCH_S for k in range(1, 40))])
    paid = uptime(passing_s, scoring).tolist()
    rng, run, total, epochs = random.Random(3), 0, 0.0, 200_000
    for _ in range(epochs):
        if rng.random() < probability:
            total += paid[min(run, len(paid) - 1)]
            run += 1
        else:
            run = 0
    assert expected_uptime(probability, scoring) == pytest.approx(total / epochs, rel=0.03)


def test_the_ends_of_the_ramp():
    """Always passing is paid in full, never passing not at all, and more passing never less."""
    scoring = DEFAULT.scoring
    assert (expected_uptime(1.0, scoring), expected_uptime(0.0, scoring)) == (1.0, 0.0)
    assert expected_uptime(1.0 - 1e-9, scoring) == pytest.approx(1.0, abs=1e-3)
    steps = [expected_uptime(n / 50, scoring) for n in range(51)]
    assert steps == sorted(steps)
    assert ramp_epochs(scoring) == 720


def test_what_a_failure_may_cost_a_cheat():
    """At the tolerable chance of failing, gain and loss are equal; a steeper ramp tolerates less."""
    for gain in (1.25, 2.0, 8.0):
        chance = tolerable_failure(gain, DEFAULT.scoring)
        assert gain * expected_uptime(1 - chance, DEFAULT.scoring) == pytest.approx(1.0)
    assert tolerable_failure(4.0, DEFAULT.scoring) > tolerable_failure(2.0, DEFAULT.scoring)
    quick = replace(DEFAULT.scoring, uptime_full_s=3_600.0)
    assert tolerable_failure(2.0, quick) > tolerable_failure(2.0, DEFAULT.scoring)


def test_a_missing_verdict_by_turns_breaks_no_run():
    """The records really forgive one epoch without a verdict after each that is passed: that is what `by turns` rests on."""
    outcome_ = archived([talk_to("5Alice/m-0")])
    report, passed = outcome_.reports[0], outcome_.verdicts[0]
    silent = replace(passed, code="PROVER_NOT_READY", severity=Severity.NO_VERDICT)
    record = ExecutorRecord(passed.executor_key)
    for turn in range(20):
        now = NOON + timedelta(seconds=turn * EPOCH_S)
        record = next_record(record, report, silent if turn % 2 else passed, LOCALNET, now)
    assert record.passed_since == NOON


def test_outcomes_are_named_by_a_margin_of_two_per_cent():
    """PAYS above, loses below, even between."""
    assert [outcome(x, 1.0) for x in (0.0, 0.97, 0.99, 1.01, 1.03)] == [
        Outcome.LOSES,
        Outcome.LOSES,
        Outcome.EVEN,
        Outcome.EVEN,
        Outcome.PAYS,
    ]
