"""Fill: D from a card's seed.

D is n lines of 128 bytes. Block b = 0..3 of line i starts from the seed and is w times
`state = H(fill, state || i u64 || b u32 || zeros(20))`. Blocks hang on nothing but the seed, so any line
can be computed alone: that is what the validator does with the lines that an opened segment visits.
"""

from __future__ import annotations

import numpy as np

from kernels.blake2s import U32, U64, chain_fill_lanes

_CHUNK_LINES = 1024


def fill(seed: U32, n_lines: int, w: int, out: U32) -> None:
    """Fill D, out uint32 [n_lines, 32], from the card's seed uint32 [8]."""
    for first in range(0, n_lines, _CHUNK_LINES):
        indices = np.arange(first, min(first + _CHUNK_LINES, n_lines), dtype=np.uint64)
        seeds = np.broadcast_to(seed, (indices.size, 8))
        out[first : first + indices.size] = lines_at(seeds, indices, w)


def lines_at(seeds: U32, indices: U64, w: int) -> U32:
    """Any k lines, each of its own card: seeds uint32 [k, 8], indices uint64 [k] -> uint32 [k, 32]."""
    k = indices.size
    blocks = np.tile(np.arange(4, dtype=np.uint32), k)
    states: U32 = chain_fill_lanes(np.repeat(seeds, 4, axis=0), np.repeat(indices, 4), blocks, w)
    return states.reshape(k, 32)
