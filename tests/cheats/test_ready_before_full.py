from __future__ import annotations

import pytest

from kernels.messages import Walk
from tests.cheats.cost import CountedCard, hardware, judge_timed, share_of


class EarlyReady(CountedCard):
    """Says READY at once, and begins to fill when the first nonce comes."""

    def fill(self) -> None:
        pass

    def walk(self, asked: Walk) -> bytes:
        if asked.round == 0:
            super().fill()
            self.next_stage()
        return super().walk(asked)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("H100 80GB HBM3", "BANDWIDTH_TOO_LOW"),
        ("L40S", "BANDWIDTH_TOO_LOW"),
        ("GeForce RTX 3090", "BANDWIDTH_TOO_LOW"),
        ("GeForce RTX 4090", "BANDWIDTH_TOO_LOW"),
        ("B300 SXM6", "PROOF_TOO_LATE"),
    ],
)
def test_ready_before_full_takes_too_long(name, code):
    """V's clock runs from the nonce: a fill that was not done before it counts as walking."""
    assert judge_timed(EarlyReady, hardware(name)).code == code


def test_an_unfilled_memory_is_no_memory():
    """Whoever says READY and never fills walks through zeros."""

    class NeverFull(CountedCard):
        def fill(self) -> None:
            super().fill()
            self._memory[:] = 0

    assert judge_timed(NeverFull, hardware("GeForce RTX 4090")).code == "WALK_STATE_WRONG"


def test_ready_before_full_within_the_slack_is_an_honest_card():
    """A card that fills D in half a second may lie about READY; its bandwidth then counts as what is left of it."""
    claim = hardware("GeForce RTX 5080")
    verdict = judge_timed(EarlyReady, claim)
    assert verdict.code == "PROVED"
    assert share_of(verdict, claim) < 0.85
