from __future__ import annotations

import numpy as np

from kernels.blake2s import U32
from tests.cheats.rig import OwnStates, judge, with_card


class Restarted(OwnStates):
    """Walks each segment from a state of zeros, all of them at once, instead of one after the other."""

    def last_states(self, round_: int) -> U32:
        p = self._parameters
        zeros = np.zeros(32, dtype=np.uint32)
        walks = [[self.walked_from(round_, k, g, zeros) for g in range(p.segments)] for k in range(p.walkers)]
        return np.array(walks, dtype=np.uint32)


def test_segments_not_chained_are_caught():
    """A segment must go on from the state before it, which is opened beside it."""
    assert judge(with_card(Restarted)).code == "WALK_STATE_WRONG"
