from __future__ import annotations

from dataclasses import replace

from kernels.messages import OpenedSegment
from tests.cheats.rig import HonestCard, judge, with_card


class NothingBefore(HonestCard):
    """Pretends that each opened segment is a walker's first."""

    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        return replace(super()._open_segment(round_, leaf), before=None, before_path=None)


def test_leaving_out_the_state_before_is_caught():
    """Only a walker's first segment starts from nothing."""
    assert judge(with_card(NothingBefore)).code == "WALK_PATH_WRONG"
