"""Merkle trees on a card: the nodes of `kernels/merkle.py`, from any height up to the root.

A level is one launch, a thread a node. A missing right child is the root of an empty subtree of its
height, which the host computes: a tree that begins at height h has other ones than a tree of leaves.
"""

from __future__ import annotations

import numpy as np
from numba import cuda

from kernels.blake2s import INITIAL, TILENODE, WALKNODE
from kernels.cuda.blake2s import LAST, compress
from kernels.cuda.kernel import (
    Array,
    DeviceArray,
    Stream,
    Words,
    carve,
    kernel,
    put_words8,
    to_host,
    u32,
    words8,
    words_of,
)
from kernels.cuda.launch import THREADS, blocks_for
from kernels.protocol import digest

_PERSONS = {WALKNODE: b"walknode", TILENODE: b"tilenode"}


@kernel(
    "void(UniTuple(uint32, 8), UniTuple(uint32, 8), uint32[:,::1], int64, int64, uint32[:,::1], int64)",
    threads=THREADS,
)
def parents(
    initial: Words, empty: Words, below: Array, step: int, count: int, above: Array, above_step: int
) -> None:
    """Node i of a level from `count` nodes below it, which stand `step` rows apart; above may be below itself."""
    i = cuda.grid(1)
    if 2 * i >= count:
        return
    left = words8(below, 2 * i * step, 0)
    right = empty
    if 2 * i + 1 < count:
        right = words8(below, (2 * i + 1) * step, 0)
    put_words8(above, i * above_step, 0, compress(initial, left + right, u32(64), LAST))


def fold(use: int, nodes: DeviceArray, times: int, stream: Stream) -> None:
    """Replace every 2^times nodes in a row, uint32 [k, 8], by their root, which comes to stand in the first one's row.

    k is a multiple of 2^times. A thread reads and writes rows of its own subtree alone, so it can be done in place.
    """
    initial, nothing = words_of(INITIAL[use]), words_of(np.zeros(8, dtype=np.uint32))
    for level in range(times):
        count = nodes.shape[0] >> level
        arguments = (initial, nothing, nodes, 1 << level, count, nodes, 2 << level)
        parents.launch(blocks_for(count // 2), stream, *arguments)


def levels(
    use: int, nodes: DeviceArray, height: int, scratch: DeviceArray, stream: Stream
) -> list[DeviceArray]:
    """Every level from these nodes, uint32 [k, 8] at this height, up to the root: views of scratch but for the first.

    scratch is uint32 [words], `launch.tree_scratch_bytes(k)` at least.
    """
    built, used, initial = [nodes], 0, words_of(INITIAL[use])
    while (count := built[-1].shape[0]) > 1:
        above = carve(scratch, used, (count + 1) // 2, 8)
        empty = words_of(np.frombuffer(_empty(use, height + len(built) - 1), dtype="<u4"))
        parents.launch(blocks_for((count + 1) // 2), stream, initial, empty, built[-1], 1, count, above, 1)
        built.append(above)
        used += above.shape[0] * 8
    return built


def root(use: int, nodes: DeviceArray, height: int, scratch: DeviceArray, stream: Stream) -> bytes:
    """The root over these nodes, 32 bytes; waits for the stream."""
    return to_host(levels(use, nodes, height, scratch, stream)[-1], stream).tobytes()


def path(
    use: int, nodes: DeviceArray, height: int, index: int, scratch: DeviceArray, stream: Stream
) -> bytes:
    """The siblings of node `index` from this height upward, 32 bytes each: the end of every path through it."""
    siblings = []
    for above, level in enumerate(levels(use, nodes, height, scratch, stream)[:-1]):
        sibling = index >> above ^ 1
        if sibling < level.shape[0]:
            siblings.append(to_host(level[sibling : sibling + 1], stream).tobytes())
        else:
            siblings.append(_empty(use, height + above))
    return b"".join(siblings)


def _empty(use: int, height: int) -> bytes:
    """The root of a subtree of this height without any leaf."""
    node = bytes(32)
    for _ in range(height):
        node = digest(_PERSONS[use], node + node)
    return node
