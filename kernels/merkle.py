"""Merkle trees: the least depth whose width holds all leaves, missing leaves are 32 zero bytes.

Nodes are H(use, left || right). A path is the siblings from the leaf upward. Subtrees without any leaf are
equal at each level, so they are computed once and never stored.
"""

from __future__ import annotations

import numpy as np

from kernels.blake2s import TILENODE, U8, U32, U64, WALKNODE, digest_lanes, digest_words_lanes
from kernels.protocol import depth_of, digest

__all__ = ["TILENODE", "WALKNODE", "depth_of", "levels", "path", "root", "root_from_paths"]

_PERSONS = {WALKNODE: b"walknode", TILENODE: b"tilenode"}


def levels(use: int, leaves: U32) -> list[U32]:
    """Every level of the tree, leaves first and root last, without its empty part: uint32 [k, 8] each."""
    built = [leaves]
    empty = bytes(32)
    for _ in range(depth_of(len(leaves))):
        level = built[-1]
        if len(level) % 2:
            level = np.concatenate([level, np.frombuffer(empty, dtype="<u4")[None]])
        built.append(digest_words_lanes(use, level.reshape(-1, 16)))
        empty = digest(_PERSONS[use], empty + empty)
    return built


def root(use: int, leaves: U32) -> bytes:
    """The root, 32 bytes."""
    return levels(use, leaves)[-1].tobytes()


def path(use: int, built: list[U32], index: int) -> bytes:
    """The siblings of a leaf from below, 32 bytes each, out of the tree's levels."""
    siblings = []
    empty = bytes(32)
    for level in built[:-1]:
        sibling = index ^ 1
        siblings.append(level[sibling].tobytes() if sibling < len(level) else empty)
        empty = digest(_PERSONS[use], empty + empty)
        index >>= 1
    return b"".join(siblings)


def root_from_paths(use: int, leaves: U8, indices: U64, paths: U8) -> U8:
    """The roots that k paths of one depth lead to; left and right come from the index alone.

    leaves uint8 [k, 32], indices uint64 [k], paths uint8 [k, depth, 32] -> uint8 [k, 32].
    """
    nodes = leaves
    for level in range(paths.shape[1]):
        is_right = ((indices >> np.uint64(level)) & np.uint64(1)).astype(bool)[:, None]
        sibling = paths[:, level]
        left, right = np.where(is_right, sibling, nodes), np.where(is_right, nodes, sibling)
        nodes = digest_lanes(use, np.concatenate([left, right], axis=1))
    return nodes
