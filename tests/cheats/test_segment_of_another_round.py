from __future__ import annotations

from kernels.messages import OpenedSegment
from tests.cheats.rig import HonestCard, judge, with_card


class OtherRoundWhole(HonestCard):
    """Opens a segment of another round, whole, with its own good paths."""

    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        return super()._open_segment((round_ + 1) % len(self._leaves), leaf)


def test_a_segment_of_another_round_is_caught():
    """Even with its own good path, it leads to another root."""
    assert judge(with_card(OtherRoundWhole)).code == "WALK_PATH_WRONG"
