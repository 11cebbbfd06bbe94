"""The hashing that a verdict can't avoid: how much it is, and that much of it with nothing around."""

from __future__ import annotations

import numpy as np
from numba import njit

from kernels.blake2s import LAST, PITCH, compress_lanes
from kernels.protocol import Parameters, depth_of


def verdict_compressions(p: Parameters) -> int:
    """The compressions that the verdict of one honest card can't avoid."""
    states = 2 * p.rounds  # before and after each opened segment
    walked = p.rounds * (4 + 4 * p.chain_w * p.segment_steps)
    walk_paths = states * (3 + depth_of(p.leaves))
    entries = p.tiles * (128 * p.chain_w + 128)
    tile_paths = p.tiles * (8 + depth_of(p.tile_count))
    return walked + walk_paths + entries + tile_paths


def hash_in_lanes(calls: int) -> None:
    """So many times 128 compressions side by side, with nothing around them."""
    rng = np.random.default_rng(0)
    h = rng.integers(0, 1 << 32, (8, PITCH), dtype=np.uint32)
    m = rng.integers(0, 1 << 32, (16, PITCH), dtype=np.uint32)
    _compress_often(h, m, calls)


@njit("void(uint32[:,::1], uint32[:,::1], int64)", cache=True, nogil=True)
def _compress_often(h, m, calls):
    for _ in range(calls):
        compress_lanes(h, m, 64, LAST)
