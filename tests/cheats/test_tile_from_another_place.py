from __future__ import annotations

from collections.abc import Sequence

from kernels.messages import OpenedTile
from tests.cheats.rig import HonestCard, judge, with_card


class Neighbour(HonestCard):
    """Opens another tile than the one asked for, with that tile's own good path."""

    def _open_tiles(self, indices: Sequence[int]) -> tuple[OpenedTile, ...]:
        return super()._open_tiles([index ^ 1 for index in indices])


def test_a_tile_from_another_place_is_caught():
    """The path is followed from the place that was drawn."""
    assert judge(with_card(Neighbour)).code == "TILE_PATH_WRONG"
