from __future__ import annotations

import pytest

from storage.records import Severity
from tests.cheats.rig import hanging_up_at, judge


@pytest.mark.parametrize("answer", range(1, 7))
def test_hanging_up_after_the_first_nonce_fails(answer):
    """From the first nonce on there is no second try: not in a round, not at the product, not at OPEN."""
    verdict = judge(hanging_up_at(answer))
    assert (verdict.code, verdict.severity) == ("PROOF_ABANDONED", Severity.FAIL)
    phases = ["", "walk 0", "walk 1", "walk 2", "walk 3", "multiply", "open"]
    assert verdict.reasons[0].got.startswith(f"{phases[answer]}: ")


def test_hanging_up_before_it_is_no_verdict():
    """A connection lost while the cards are filled says nothing about them."""
    verdict = judge(hanging_up_at(0))
    assert (verdict.code, verdict.severity) == ("PROVER_LOST", Severity.NO_VERDICT)
