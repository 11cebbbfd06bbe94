from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest

from kernels import merkle
from kernels.merkle import TILENODE
from kernels.messages import Multiply
from kernels.multiply import tile_digests
from tests.cheats.rig import TINY, HonestCard, judge, with_card

CHALLENGES = 60
MANY_TILES = replace(TINY, multiply_columns=256, multiply_row_share=1.0)


class PartlyInvented(HonestCard):
    """Leaves out a share of the product's entries: random numbers stand there."""

    share = 0.1

    def multiply(self, asked: Multiply) -> bytes:
        super().multiply(asked)
        rng = np.random.default_rng(list(self._asked.seed))
        entries = self._tiles.view(np.uint16)
        is_invented = rng.random(entries.shape) < self.share
        entries[is_invented] ^= rng.integers(1, 1 << 16, entries.shape, dtype=np.uint16)[is_invented]
        self._roots[-1] = merkle.root(TILENODE, tile_digests(self._tiles))
        return self._roots[-1]


@pytest.mark.parametrize("share", [pytest.param(0.1, marks=pytest.mark.long), 0.3])
def test_a_share_of_the_product_left_out_passes_that_seldom(share):
    """Eight entries are computed again: a share x left out passes (1 - x)^8 of the time, never by another code."""
    card = with_card(type("Some", (PartlyInvented,), {"share": share}))
    codes = [judge(card, seed, policy=MANY_TILES).code for seed in range(CHALLENGES)]
    assert set(codes) == {"PROVED", "TILE_ENTRY_WRONG"}
    assert _is_likely(codes.count("PROVED"), (1 - share) ** 8)


def _is_likely(passed: int, rate: float) -> bool:
    """Whether so many of all challenges lie within the 99 % in the middle of the binomial distribution."""

    def at_most(count: int) -> float:
        return sum(comb(CHALLENGES, k) * rate**k * (1 - rate) ** (CHALLENGES - k) for k in range(count + 1))

    return at_most(passed) > 0.005 and at_most(passed - 1) < 0.995
