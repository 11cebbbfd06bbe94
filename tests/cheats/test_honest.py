from __future__ import annotations

import random
from dataclasses import replace

import pytest

from storage.records import Severity
from tasks.proof.verdict import verify_transcript
from tests.cheats.rig import TINY, HonestCard, honest, judge, with_card


def test_honest_provers_pass_at_any_size():
    """Twenty honest machines of random sizes, of one card to fourteen, are all proved, and again by transcript."""
    for number in range(20):
        _must_pass(number)


@pytest.mark.long
def test_a_thousand_honest_provers_pass_in_a_row():
    """Not one of a thousand others is failed: an honest machine has nothing to fear from chance."""
    for number in range(20, 1_020):
        _must_pass(number)


def _must_pass(number: int) -> None:
    """One honest proof, all of its sizes drawn by its number."""
    rng = random.Random(number)
    policy = replace(
        TINY,
        chain_w=rng.randint(1, 4),
        rounds=rng.randint(1, 6),
        walkers=rng.randint(1, 40),
        segment_steps=rng.randint(1, 40),
        multiply_columns=16 * rng.randint(1, 6),
        multiply_row_share=rng.random(),
        opened_tiles=rng.randint(1, 16),
    )
    cards = rng.choice([1, 1, 2, 3, 4, 8, 14])
    verdict = judge(honest, number, cards, policy, pages=rng.randint(16, 200))
    assert verdict.code == "PROVED", (number, policy, verdict.reasons)
    assert [card.passed for card in verdict.cards] == [True] * cards
    assert verdict.bytes_received <= cards * 64 * 1024
    assert verify_transcript(verdict.transcript) == verdict, number


def test_proved_machine_carries_its_figures():
    """A proof gives every card its memory, speed and times, and a transcript that judges the same."""
    verdict = judge(honest, cards=2)
    assert verdict.proved
    assert [(c.card_uuid, c.card_index, c.passed) for c in verdict.cards] == [
        ("GPU-0", 0, True),
        ("GPU-1", 1, True),
    ]
    assert {c.memory_bytes for c in verdict.cards} == {32 * 4_096}
    assert all(c.walk_s > 0 and c.multiply_s > 0 and c.bandwidth_gb_s > 0 for c in verdict.cards)
    assert verify_transcript(verdict.transcript) == verdict


def test_one_failed_card_fails_the_machine():
    """A machine with one lying card is not proved, and the honest card beside it keeps its own word."""

    class Wrong(HonestCard):
        def fill(self) -> None:
            super().fill()
            self._memory[:, 3] ^= 1

    verdict = judge(with_card(Wrong), cards=2)
    assert (verdict.code, verdict.severity) == ("WALK_STATE_WRONG", Severity.FAIL)
    assert [c.code for c in verdict.cards] == ["WALK_STATE_WRONG", "PROVED"]
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].got.startswith("card 0, round 0, walker ")
