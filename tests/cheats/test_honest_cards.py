from __future__ import annotations

import pytest

from tasks.inspection.models import MODELS
from tasks.proof.verdict import verify_transcript
from tests.cheats.cost import (
    INSTRUCTIONS_A_STEP,
    CountedCard,
    Machine,
    challenge_of,
    hardware,
    judge_timed,
    judge_wave,
    scale_of,
    share_of,
)

NAMES = [model.name for model in MODELS]


@pytest.mark.parametrize("name", NAMES)
def test_honest_cards_of_every_model_pass_under_the_cost_model(name):
    """What the cheats are held to, each model of the table meets: its own bandwidth, less what its arithmetic costs."""
    claim = hardware(name)
    verdict = judge_timed(CountedCard, claim)
    assert verdict.code == "PROVED", verdict.reasons
    assert 0.9 < share_of(verdict, claim) <= 1.25
    assert verify_transcript(verdict.transcript) == verdict


def test_time_is_counted_work():
    """16 passes over D in each of four rounds, at the card's bandwidth, less the credit of 50 ms a round: no clock else."""
    claim = hardware("H100 80GB HBM3")
    card = judge_timed(CountedCard, claim).cards[0]
    assert card.walk_s == pytest.approx(4 * 16 * claim.proved_bytes / claim.bandwidth_bytes_s - 0.2, abs=1e-5)


def test_the_walk_is_bound_by_memory_but_on_the_fastest_cards():
    """A step's integer instructions take no longer than its line, except where memory has outgrown the integer units."""
    arithmetic_bound = {
        name: round(reads_s / steps_s, 2)
        for name in NAMES
        if (steps_s := INSTRUCTIONS_A_STEP / hardware(name).instructions_s)
        > (reads_s := 128 / hardware(name).bandwidth_bytes_s)
    }
    assert arithmetic_bound == {"B300 SXM6": 0.87, "B200": 0.85, "GB200": 0.91, "H20": 0.9}


def test_eight_honest_cards_pass_together():
    """Cards work side by side: a machine of eight needs no longer than one of one."""
    claim = hardware("H100 80GB HBM3")
    one, eight = judge_timed(CountedCard, claim), judge_timed(CountedCard, claim, cards=8)
    assert eight.code == "PROVED"
    assert len(eight.cards) == 8
    assert share_of(eight, claim) == pytest.approx(share_of(one, claim))


def test_machines_of_all_paces_share_a_wave():
    """The slowest sets the wave's pace, and each is judged by its own."""
    names = ["H100 80GB HBM3", "Tesla T4", "B300 SXM6", "GeForce RTX 3050"]
    wave = []
    for at, name in enumerate(names):
        claim = hardware(name)
        machine = Machine(CountedCard, claim.at(scale_of(claim)))
        challenge = challenge_of(claim, at, executor_id=name.replace(" ", "-"))
        wave.append(([challenge], lambda sessions, machine=machine: machine.serve(sessions[0])))
    assert [verdict.code for verdict in judge_wave(wave)] == ["PROVED"] * 4
