from __future__ import annotations

from dataclasses import replace

import pytest

from kernels.messages import OpenedSegment, OpenedTile
from tests.cheats.rig import HonestCard, judge, with_card

CHANGES = {
    "short": lambda path: path[:-32],
    "without the leaf's sibling": lambda path: path[32:],
    "long": lambda path: path + bytes(32),
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("change", CHANGES)
def test_walk_paths_have_the_trees_depth(change):
    """The depth is the validator's own; a path of another length is wrong before it is followed."""

    class OtherPath(HonestCard):
        def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
            opened = super()._open_segment(round_, leaf)
            return replace(opened, after_path=CHANGES[change](opened.after_path))

    verdict = judge(with_card(OtherPath))
    assert verdict.code == "WALK_PATH_WRONG"
    assert "a path of " in verdict.cards[0].detail


@pytest.mark.parametrize("change", CHANGES)
def test_tile_paths_have_the_trees_depth(change):
    """The same for the product's tree."""

    class OtherPath(HonestCard):
        def _open_tiles(self, indices: object) -> tuple[OpenedTile, ...]:
            return tuple(replace(t, path=CHANGES[change](t.path)) for t in super()._open_tiles(indices))

    verdict = judge(with_card(OtherPath))
    assert verdict.code == "TILE_PATH_WRONG"
    assert "a path of " in verdict.cards[0].detail
