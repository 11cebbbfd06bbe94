from __future__ import annotations

import numpy as np

from kernels.blake2s import U32
from tests.cheats.rig import OwnStates, judge, with_card


class Invented(OwnStates):
    """Commits to random states: no walk at all."""

    def last_states(self, round_: int) -> U32:
        p = self._parameters
        rng = np.random.default_rng(round_)
        return rng.integers(0, 1 << 32, (p.walkers, p.segments, 32), dtype=np.uint32)


def test_invented_states_are_caught():
    """An invented last state is committed to and opened with a good path, and is not where the segment ends."""
    assert judge(with_card(Invented)).code == "WALK_STATE_WRONG"
