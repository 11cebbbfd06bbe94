"""The verifier's replay: opened segments walked again and single entries of the product, many side by side.

    segment:  T times  a = address(state, n);  state = mix(state ^ D[a])         every D[a] made from the seed
    entry:    sum over i < 4096 of page[i] * column[i],  mod 2^16                page and column made likewise

One walk is sequential, but walks of different rounds, cards and machines are not: at each step the lines of all
of them are made together, four blocks a line, in lanes. An entry is a block of lanes by itself: 32
lines of four blocks are 128 chains. So a segment costs `4 w T` compressions and an entry `128 w + 128`,
whatever the size of D.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.blake2s import U32, U64
from kernels.fill import lines_at
from kernels.multiply import columns_at
from kernels.protocol import PAGE_BYTES, PAGE_LINES
from kernels.walk import addresses, step_lanes

U16 = NDArray[np.uint16]
_ENTRIES_AT_ONCE = 64
"""Bounds the memory: 64 columns' messages are half a MiB."""


def replay_segments(starts: U32, seeds: U32, lines: U64, w: int, steps: int) -> U32:
    """Walk k segments of `steps` steps again: their last states, uint32 [k, 32].

    starts uint32 [k, 32] with the segments' start digests xored in; of each one's card the seed, uint32 [k, 8], and
    the number of lines of D, uint64 [k].
    """
    states = starts.copy()
    for _ in range(steps):
        step_lanes(states, lines_at(seeds, addresses(states, lines), w))
    return states


def product_entries(seeds: U32, nonces: U32, pages: U64, columns: U32, w: int) -> U16:
    """K entries mod 2^16, each of its own card's product: uint16 [k].

    Of each one's card the seed and the own nonce of the product, uint32 [k, 8] both; the page of D that the
    entry's row is, uint64 [k]; the column of B, uint32 [k].
    """
    entries = np.empty(pages.size, dtype=np.uint16)
    for first in range(0, pages.size, _ENTRIES_AT_ONCE):
        some = slice(first, first + _ENTRIES_AT_ONCE)
        rows = _pages_at(seeds[some], pages[some], w).astype(np.int32)
        sums = np.einsum("ij,ij->i", rows, columns_at(nonces[some], columns[some]).astype(np.int32))
        entries[some] = sums.astype(np.uint16)
    return entries


def _pages_at(seeds: U32, pages: U64, w: int) -> NDArray[np.int8]:
    """Whole pages of D: int8 [k, 4096]."""
    lines = np.add.outer(pages * np.uint64(PAGE_LINES), np.arange(PAGE_LINES, dtype=np.uint64))
    made = lines_at(np.repeat(seeds, PAGE_LINES, axis=0), lines.reshape(-1), w)
    return made.view(np.int8).reshape(-1, PAGE_BYTES)
