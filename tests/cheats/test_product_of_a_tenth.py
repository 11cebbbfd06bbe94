from __future__ import annotations

from kernels import merkle
from kernels.merkle import TILENODE
from kernels.messages import Multiply
from kernels.multiply import tile_digests
from tests.cheats.rig import HonestCard, judge, with_card


class Partly(HonestCard):
    """Computes a tenth of the entries and leaves zeros elsewhere."""

    def multiply(self, asked: Multiply) -> bytes:
        super().multiply(asked)
        self._tiles.reshape(-1)[len(self._tiles.reshape(-1)) // 10 :] = 0
        leaves = tile_digests(self._tiles)
        self._roots[-1] = merkle.root(TILENODE, leaves)
        return self._roots[-1]


def test_a_tenth_of_the_product_is_caught():
    """Of eight entries at drawn places one is missing, but for one time in 10^8."""
    assert judge(with_card(Partly)).code == "TILE_ENTRY_WRONG"
