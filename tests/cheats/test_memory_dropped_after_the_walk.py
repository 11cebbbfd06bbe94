from __future__ import annotations

from tests.cheats.rig import HonestCard, judge, with_card


class WrongAfterTheWalk(HonestCard):
    """D is good for the walk and spoilt for the product."""

    def multiply(self, asked: object) -> bytes:
        self._memory[:, ::5] = 0
        return super().multiply(asked)

    def _open_segment(self, round_: int, leaf: int) -> object:
        HonestCard.fill(self)
        return super()._open_segment(round_, leaf)


def test_memory_dropped_after_the_walk_is_caught():
    """The product's rows are D too: whoever has dropped a part of it has other entries."""
    assert judge(with_card(WrongAfterTheWalk)).code == "TILE_ENTRY_WRONG"
