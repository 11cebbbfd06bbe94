from __future__ import annotations

import numpy as np
import pytest

from kernels.blake2s import U32, U64
from tests.cheats.cost import CountedCard, hardware, judge_timed, share_of


class Lazy(CountedCard):
    """Says READY with an empty memory, and fills each line when the walk first reads it."""

    def fill(self) -> None:
        self._memory = np.zeros((self._parameters.lines, 32), dtype=np.uint32)
        self._is_full = np.zeros(self._parameters.lines, dtype=bool)

    def lines(self, wanted: U64) -> U32:
        fresh = np.unique(wanted[~self._is_full[wanted]])
        self._memory[fresh] = self.regenerated(fresh)
        self._is_full[fresh] = True
        return super().lines(wanted)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("H100 80GB HBM3", "BANDWIDTH_TOO_LOW"),
        ("A100-SXM4-80GB", "BANDWIDTH_TOO_LOW"),
        ("RTX PRO 6000 Blackwell", "BANDWIDTH_TOO_LOW"),
        ("GeForce RTX 4090", "BANDWIDTH_TOO_LOW"),
        ("L4", "BANDWIDTH_TOO_LOW"),
        ("B300 SXM6", "PROOF_TOO_LATE"),
    ],
)
def test_filling_in_the_walk_takes_too_long(name, code):
    """Each line's 128 compressions fall into the timed rounds instead of before them."""
    assert judge_timed(Lazy, hardware(name)).code == code


def test_a_small_fast_card_fills_within_the_slack():
    """Where D is made in half a second this passes, and gains nothing: from then on the card holds all of D."""
    claim = hardware("GeForce RTX 5090")
    verdict = judge_timed(Lazy, claim)
    assert verdict.code == "PROVED"
    assert share_of(verdict, claim) < 1.0
