from __future__ import annotations

from dataclasses import replace

from kernels.messages import OpenedSegment
from tests.cheats.rig import HonestCard, judge, with_card


class OtherRound(HonestCard):
    """Opens each round's segment with the path of the same leaf in another round's tree."""

    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        other = super()._open_segment((round_ + 1) % len(self._leaves), leaf)
        return replace(super()._open_segment(round_, leaf), after_path=other.after_path)


def test_a_path_of_another_round_is_caught():
    """A path leads to its own round's root or to none of ours."""
    assert judge(with_card(OtherRound)).code == "WALK_PATH_WRONG"
