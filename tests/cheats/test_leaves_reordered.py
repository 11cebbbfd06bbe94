from __future__ import annotations

from kernels.messages import OpenedSegment
from tests.cheats.rig import HonestCard, judge, with_card


class Reordered(HonestCard):
    """Commits to its leaves in another order, and opens what stands at the place."""

    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        return super()._open_segment(round_, leaf ^ 1)


def test_the_neighbour_of_a_leaf_is_caught():
    """Left and right come from the place, not from the answer: another leaf's path leads elsewhere."""
    assert judge(with_card(Reordered)).code == "WALK_PATH_WRONG"
