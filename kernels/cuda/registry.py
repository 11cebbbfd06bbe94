"""Every kernel that runs on a card, with its signature and the threads of its blocks: for tests, bench and warm-up."""

from __future__ import annotations

from kernels.cuda.fill import fill_lines
from kernels.cuda.merkle import parents
from kernels.cuda.multiply import columns_of_b, product, tile_leaves
from kernels.cuda.walk import gather_nodes, walk_segments

KERNELS = (fill_lines, walk_segments, gather_nodes, parents, columns_of_b, product, tile_leaves)
