"""Fill on a card: D from its seed, one thread for each block of 32 bytes.

The four threads of a line are neighbours, so that a warp writes eight whole lines at once. The formula is
that of `kernels/fill.py`.
"""

from __future__ import annotations

from numba import cuda

from kernels.blake2s import U32
from kernels.cuda import launch
from kernels.cuda.blake2s import FILL_INITIAL, LAST, ZERO, compress
from kernels.cuda.kernel import Array, DeviceArray, Stream, Words, kernel, put_words8, u32, words_of


@kernel("void(UniTuple(uint32, 8), int64, int64, int64, uint32[:,::1])", threads=launch.THREADS)
def fill_lines(seed: Words, first: int, count: int, w: int, memory: Array) -> None:
    """Fill lines first .. first + count of memory uint32 [n, 32]."""
    thread = cuda.grid(1)
    if thread >= 4 * count:
        return
    line = first + (thread >> 2)
    block = thread & 3
    place = (u32(line), u32(line >> 32), u32(block), ZERO, ZERO, ZERO, ZERO, ZERO)
    h = seed
    for _ in range(w):
        h = compress(FILL_INITIAL, h + place, u32(64), LAST)
    put_words8(memory, line, 8 * block, h)


def fill(seed: U32, w: int, memory: DeviceArray, stream: Stream) -> None:
    """Fill D, memory uint32 [n, 32], from the card's seed uint32 [8], in launches of a fraction of a second."""
    lines = memory.shape[0]
    chunk = launch.fill_lines_at_once(w)
    for first in range(0, lines, chunk):
        count = min(chunk, lines - first)
        fill_lines.launch(launch.blocks_for(4 * count), stream, words_of(seed), first, count, w, memory)
