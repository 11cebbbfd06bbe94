from __future__ import annotations

from math import comb

import numpy as np
import pytest

from kernels.blake2s import U32
from tests.cheats.rig import judge, with_card
from tests.cheats.walking import Walking

CHALLENGES = 60


class PartlyInvented(Walking):
    """Leaves out a share of the segments: commits to random states there, and walks on from them."""

    share = 0.1

    def ended(self, round_: int, segment: int, states: U32) -> U32:
        rng = np.random.default_rng([*self._asked.seed, round_, segment])
        is_invented = rng.random(len(states)) < self.share
        made_up = rng.integers(0, 1 << 32, states.shape, dtype=np.uint32)
        return np.where(is_invented[:, None], made_up, states)


def test_leaving_out_nothing_passes():
    """The same card with a share of nothing is an honest one."""
    assert judge(with_card(type("Nothing", (PartlyInvented,), {"share": 0.0}))).code == "PROVED"


@pytest.mark.parametrize("share", [pytest.param(0.1, marks=pytest.mark.long), 0.3])
def test_a_share_of_segments_left_out_passes_that_seldom(share):
    """One opened segment of each of four rounds: a share x left out passes (1 - x)^4 of the time, never by another code."""
    card = with_card(type("Some", (PartlyInvented,), {"share": share}))
    codes = [judge(card, seed).code for seed in range(CHALLENGES)]
    assert set(codes) == {"PROVED", "WALK_STATE_WRONG"}
    assert _is_likely(codes.count("PROVED"), (1 - share) ** 4)


def _is_likely(passed: int, rate: float) -> bool:
    """Whether so many of all challenges lie within the 99 % in the middle of the binomial distribution."""

    def at_most(count: int) -> float:
        return sum(comb(CHALLENGES, k) * rate**k * (1 - rate) ** (CHALLENGES - k) for k in range(count + 1))

    return at_most(passed) > 0.005 and at_most(passed - 1) < 0.995


def test_the_likelihood_can_fail():
    """The count that an honest card or a random one would give is not taken for the rate of a tenth."""
    assert not _is_likely(CHALLENGES, 0.9**4)
    assert not _is_likely(0, 0.7**4)
    assert not _is_likely(int(0.9 * CHALLENGES), 0.9**4)
