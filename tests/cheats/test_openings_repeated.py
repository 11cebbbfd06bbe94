from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernels.messages import OpenedSegment, OpenedTile
from tests.cheats.rig import TINY, HonestCard, judge, with_card

MANY_TILES = replace(TINY, multiply_columns=256, multiply_row_share=1.0)
"""32 tiles, so that eight places seldom meet."""


class OneTileForAll(HonestCard):
    """Opens its first tile as often as tiles are asked for."""

    def _open_tiles(self, indices: Sequence[int]) -> tuple[OpenedTile, ...]:
        return (super()._open_tiles(indices)[0],) * len(indices)


def test_a_tile_repeated_is_caught():
    """Each tile is looked for at its own place: one good tile does not stand for eight."""
    assert judge(with_card(OneTileForAll), policy=MANY_TILES).code == "TILE_PATH_WRONG"


class TilesInAnotherOrder(HonestCard):
    """Opens the tiles that are asked for, in another order."""

    def _open_tiles(self, indices: Sequence[int]) -> tuple[OpenedTile, ...]:
        return super()._open_tiles(indices)[::-1]


def test_tiles_in_another_order_are_caught():
    """An opening carries no index of its own: what comes third is looked for at the third place."""
    assert judge(with_card(TilesInAnotherOrder), policy=MANY_TILES).code == "TILE_PATH_WRONG"


class OneSegmentForAll(HonestCard):
    """Opens the first round's segment for every round."""

    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        if round_ == 0:
            self._first = super()._open_segment(round_, leaf)
        return self._first


def test_a_segment_repeated_is_caught():
    """Each round has its own tree: one good segment does not stand for four."""
    verdict = judge(with_card(OneSegmentForAll))
    assert verdict.code == "WALK_PATH_WRONG"
    assert "round 0" not in verdict.cards[0].detail


class Neighbour(HonestCard):
    """Opens the walker's next segment, with that one's own good states and paths."""

    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        return super()._open_segment(round_, (leaf + 1) % self._parameters.leaves)


def test_a_segment_of_another_index_is_caught():
    """Left and right on the way up come from V's own index."""
    assert judge(with_card(Neighbour)).code == "WALK_PATH_WRONG"
