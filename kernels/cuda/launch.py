"""Launch arithmetic for cards of any size: grids, chunks, bytes beside D. Pure, and free of numba.cuda.

A card has three things at a time: D, a buffer of nodes (those of a round's walk, later the leaves of the product's
tiles) and one scratch that the steps use in turn. A round's nodes go to the host once its root is out,
and come back when the round is opened.

    D = min(0.92 M, M - 1 GiB)

so that a card has 0.08 M left, but 1 GiB at least. With the default policy, whose segments come in units of 64, the two
buffers take 143 MiB of 1 GiB on a card of 8 GiB, 209 MiB of 6.4 GiB on one of 80, 448 MiB of 15.4 GiB on one of 192; the
rest is for the driver's context, the compiled kernels and a screen. On the host a card takes 31 to 632 MiB.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernels.protocol import DIGEST_BYTES, LINE_BYTES, PAGE_BYTES, TILE_BYTES, TILE_SIDE, Parameters

THREADS = 256
"""Of a block, where a kernel does not need its own number."""
WARP = 32
"""Threads of a warp, and of a block of the walk."""
PRODUCT_SIDE = 128
"""A block of the product computes 128 x 128 entries: 256 threads with 8 x 8 each."""

MAX_KEEP = 6
"""Beyond 64 leaves a node, scratch would grow faster than the nodes shrink."""
_MIN_SEGMENTS_AT_ONCE = 16
"""A launch of fewer would hardly last longer than it takes to be made."""
_COMPRESSIONS_AT_ONCE = 1 << 29
"""Of a launch of the fill: 0.16 s at 1,150 instructions each on a card of 3.8 x 10^12 a second (a T4)."""
_PRODUCT_BYTES_AT_ONCE = 32 << 20


def blocks_for(threads: int, per_block: int = THREADS) -> int:
    """Blocks that hold so many threads."""
    return -(-threads // per_block)


# --- fill ----------------------------------------------------------------------------------------------


def fill_lines_at_once(w: int) -> int:
    """Lines of one launch of the fill."""
    return _COMPRESSIONS_AT_ONCE // (4 * w)


# --- walk ----------------------------------------------------------------------------------------------


def keep_for(segments: int) -> int:
    """The level whose nodes a round leaves: subtrees of 2^keep leaves that lie within one walker."""
    return min(MAX_KEEP, (segments & -segments).bit_length() - 1)


def segments_at_once(keep: int) -> int:
    """Segments of one launch of the walk, a multiple of 2^keep."""
    return max(1 << keep, _MIN_SEGMENTS_AT_ONCE)


def node_count(walkers: int, segments: int, keep: int) -> int:
    """Nodes that a round leaves."""
    return walkers * segments >> keep


def walk_scratch_bytes(walkers: int, keep: int) -> int:
    """The card's nonce, a state and the leaves of one launch for each walker."""
    return DIGEST_BYTES + walkers * (LINE_BYTES + segments_at_once(keep) * DIGEST_BYTES)


def rewalk_scratch_bytes(keep: int) -> int:
    """The card's nonce, the states of two groups of one walker and the leaves of one launch."""
    return DIGEST_BYTES + (2 * (1 << keep) + 1) * LINE_BYTES + segments_at_once(keep) * DIGEST_BYTES


# --- trees ---------------------------------------------------------------------------------------------


def parent_count(nodes: int) -> int:
    """All nodes above a level of so many, the empty part left out."""
    above = 0
    while nodes > 1:
        nodes = (nodes + 1) // 2
        above += nodes
    return above


def tree_scratch_bytes(nodes: int) -> int:
    """The levels above so many nodes."""
    return parent_count(nodes) * DIGEST_BYTES


# --- product -------------------------------------------------------------------------------------------


def rows_at_once(columns: int, scratch_bytes: int) -> int:
    """Rows of A whose product is held at once: what scratch has room for beside B, in whole tiles and at most 32 MiB."""
    room = min(scratch_bytes - columns * PAGE_BYTES, _PRODUCT_BYTES_AT_ONCE)
    return room // (2 * columns * TILE_SIDE) * TILE_SIDE


def multiply_scratch_bytes(rows: int, columns: int) -> int:
    """The columns of B and the tiles of one chunk of rows, each entry 16 bits."""
    return columns * PAGE_BYTES + min(2 * rows * columns, _PRODUCT_BYTES_AT_ONCE)


def tiles_scratch_bytes(tiles: int) -> int:
    """Sixteen columns of B and the opened tiles."""
    return TILE_SIDE * PAGE_BYTES + tiles * TILE_BYTES


# --- the whole card ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CardBytes:
    """Device memory of one card in one proof."""

    memory: int
    """D."""
    nodes: int
    """The nodes of a round, or the leaves of the product's tiles."""
    scratch: int
    """Whatever a step needs while it runs: the largest of them."""

    @property
    def beside(self) -> int:
        """What is allocated beside D."""
        return self.nodes + self.scratch


def card_bytes(p: Parameters) -> CardBytes:
    """What a card must have free for a proof, the driver's context aside."""
    keep = keep_for(p.segments)
    nodes = max(node_count(p.walkers, p.segments, keep), p.tile_count)
    steps = (
        walk_scratch_bytes(p.walkers, keep),
        rewalk_scratch_bytes(keep),
        tree_scratch_bytes(nodes),
        multiply_scratch_bytes(p.rows, p.columns),
        tiles_scratch_bytes(p.tiles),
    )
    return CardBytes(p.memory_bytes, nodes * DIGEST_BYTES, max(steps))


def host_bytes(p: Parameters) -> int:
    """Host memory of one card: the nodes of every round and the product's leaves, until they are opened."""
    nodes = node_count(p.walkers, p.segments, keep_for(p.segments))
    return (p.rounds * nodes + p.tile_count) * DIGEST_BYTES
