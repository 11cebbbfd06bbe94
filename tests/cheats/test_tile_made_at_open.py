from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernels.messages import OpenedTile
from tests.cheats.rig import HonestCard, judge, with_card


class Mended(HonestCard):
    """Computes nothing, commits to zeros, and makes up good tiles at OPEN."""

    def _open_tiles(self, indices: Sequence[int]) -> tuple[OpenedTile, ...]:
        good = self._tiles.copy()
        self._tiles[:] = 0
        made_up = super()._open_tiles(indices)
        return tuple(replace(t, tile=good[i].tobytes()) for t, i in zip(made_up, indices, strict=True))


def test_a_tile_made_after_the_root_is_caught():
    """What was not committed to leads to no root."""
    assert judge(with_card(Mended)).code == "TILE_PATH_WRONG"
