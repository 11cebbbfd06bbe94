from __future__ import annotations

import numpy as np

from kernels.blake2s import U32
from tests.cheats.rig import OwnStates, judge, with_card


class Copied(OwnStates):
    """Walks one walker and gives its states out for all others."""

    def last_states(self, round_: int) -> U32:
        p = self._parameters
        state, chain = np.zeros(32, dtype=np.uint32), []
        for g in range(p.segments):
            state = self.walked_from(round_, 0, g, state)
            chain.append(state)
        return np.array([chain] * p.walkers, dtype=np.uint32)


def test_chains_copied_from_another_walker_are_caught():
    """A segment's start binds its walker, so no chain is good for two."""
    assert judge(with_card(Copied)).code == "WALK_STATE_WRONG"
