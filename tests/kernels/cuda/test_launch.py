from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import merkle
from kernels.cuda import launch
from kernels.protocol import RANGES
from tasks.policy import DEFAULT
from tasks.proof.challenge import parameters_for

MIB, GIB = 1 << 20, 1 << 30
CARDS = {
    8: 448,
    12: 360,
    16: 320,
    24: 1_008,
    48: 960,
    80: 3_350,
    96: 1_792,
    141: 4_800,
    192: 8_000,
    288: 8_000,
}
"""GiB and GB/s: from an RTX 3070 Ti's size to a B300's."""


@dataclass(frozen=True)
class SizedModel:
    memory_bytes: int
    bandwidth_gb_s: float


def full_size(gib):
    """The default policy's parameters for such a card."""
    return parameters_for(SizedModel(gib * GIB, CARDS[gib]), DEFAULT.proof)


@pytest.mark.parametrize("gib", CARDS)
def test_a_proof_fits_beside_d(gib):
    """Of what D leaves of a card a proof needs at most a quarter: the rest is the driver's and a screen's."""

    needed = launch.card_bytes(full_size(gib))

    left = gib * GIB - needed.memory
    assert left >= 1 * GIB
    assert needed.beside <= left / 4
    assert launch.host_bytes(full_size(gib)) <= 1 * GIB


def test_bytes_of_a_card():
    """80 GiB: 65,536 walkers of 1,216 segments leave 1.2 million nodes of 64 leaves; the tiles' leaves are more."""

    p = full_size(80)
    needed = launch.card_bytes(p)

    assert (p.segments, launch.keep_for(p.segments)) == (1_216, 6)
    assert launch.node_count(p.walkers, p.segments, 6) == 65_536 * 19
    assert needed.nodes == 32 * p.tile_count == 32 * (602_928 // 16) * 64
    assert needed.scratch == 32 + 65_536 * (128 + 64 * 32)
    assert needed.beside // MIB == 209


@given(st.integers(*RANGES["segments"]))
def test_nodes_lie_within_a_walker(segments):
    """2^keep divides the segments, and a launch is whole groups of 2^keep."""

    assert segments % (1 << launch.keep_for(segments)) == 0
    assert launch.segments_at_once(launch.keep_for(segments)) % (1 << launch.keep_for(segments)) == 0


@pytest.mark.parametrize("nodes", [1, 2, 3, 8, 33, 200])
def test_scratch_of_a_tree(nodes):
    """A tree's scratch is every level above the nodes, without the empty part."""

    built = merkle.levels(merkle.WALKNODE, np.zeros((nodes, 8), dtype=np.uint32))

    assert launch.tree_scratch_bytes(nodes) == sum(level.nbytes for level in built[1:])


@pytest.mark.parametrize(("columns", "rows"), [(16, 1 << 20), (1_024, 16_384), (8_192, 2_048)])
def test_rows_of_a_product(columns, rows):
    """A chunk of C is 32 MiB at most, less where scratch is less, and always whole tiles."""

    room = launch.multiply_scratch_bytes(1 << 24, columns)

    assert launch.rows_at_once(columns, room) == rows
    assert launch.rows_at_once(columns, room + GIB) == rows
    assert launch.rows_at_once(columns, launch.multiply_scratch_bytes(48, columns)) == 48


def test_launches_are_short_and_fit_a_grid():
    """A launch of the fill is 2^29 compressions at most; no grid has 2^31 blocks, no product more than 65,535 rows of them."""

    for w in (1, 32, RANGES["chain_w"][1]):
        lines = launch.fill_lines_at_once(w)
        assert 2**28 < 4 * lines * w <= 2**29
        assert launch.blocks_for(4 * lines) < 2**31
    assert launch.blocks_for(1 << 28) < 2**31
    assert launch.blocks_for(1 << 20, launch.PRODUCT_SIDE) <= 65_535
    assert (launch.blocks_for(1), launch.blocks_for(256), launch.blocks_for(257)) == (1, 1, 2)
