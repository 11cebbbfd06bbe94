from __future__ import annotations

import numpy as np

from kernels.blake2s import U32
from tests.cheats.rig import OwnStates, judge, with_card


class Chained(OwnStates):
    """Walks every segment, one after the other, with the rig's own step."""

    def last_states(self, round_: int) -> U32:
        p = self._parameters
        walks = []
        for k in range(p.walkers):
            state, chain = np.zeros(32, dtype=np.uint32), []
            for g in range(p.segments):
                state = self.walked_from(round_, k, g, state)
                chain.append(state)
            walks.append(chain)
        return np.array(walks, dtype=np.uint32)


def test_the_cheats_rig_passes_when_it_does_not_cheat():
    """What makes the other cards fail is their cheat: the same rig, walking honestly, is proved."""
    assert judge(with_card(Chained)).code == "PROVED"
