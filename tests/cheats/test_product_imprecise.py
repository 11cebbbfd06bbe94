from __future__ import annotations

from kernels import merkle
from kernels.merkle import TILENODE
from kernels.messages import Multiply
from kernels.multiply import tile_digests
from tests.cheats.rig import HonestCard, judge, with_card


class Imprecise(HonestCard):
    """Rounds every entry to even, as a product in fewer bits would."""

    def multiply(self, asked: Multiply) -> bytes:
        super().multiply(asked)
        self._tiles &= 0xFFFEFFFE
        self._roots[-1] = merkle.root(TILENODE, tile_digests(self._tiles))
        return self._roots[-1]


def test_lower_precision_is_caught():
    """Sums are exact: the lowest bit of an entry counts."""
    assert judge(with_card(Imprecise)).code == "TILE_ENTRY_WRONG"
