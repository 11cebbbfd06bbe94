"""The CPU form of a card: D in the machine's own memory, simulated cards as budgets (kernels/cards.py).

Of a round it keeps the leaves only; what is opened is walked again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from kernels import merkle, protocol
from kernels.blake2s import U32
from kernels.cards import Card, CardSource
from kernels.fill import fill
from kernels.forms import CardWork, words
from kernels.messages import CardSeed, Multiply, OpenedSegment, OpenedTile, Walk
from kernels.multiply import multiply, tile_digests
from kernels.protocol import Parameters
from kernels.walk import rewalk, walk


class CpuForm:
    """Simulated cards, as many at a time as there are cores."""

    def __init__(self, source: CardSource) -> None:
        self._source = source

    @property
    def threads(self) -> int:
        """Cores that this process may use."""
        return len(os.sched_getaffinity(0))

    def check(self, parameters: Parameters) -> None:
        """Refuse sizes that a CPU can't carry; raises BadMessage."""
        parameters.check_cpu()

    def open(self, parameters: Parameters, asked: CardSeed) -> CpuCard:
        """The simulated card of this UUID; raises CardError."""
        return CpuCard(parameters, asked, self._source.open(asked.uuid))


class CpuCard(CardWork):
    """One simulated card's part of the conversation."""

    def __init__(self, parameters: Parameters, asked: CardSeed, card: Card) -> None:
        super().__init__(parameters, asked)
        self._card = card
        self._memory: U32 = np.empty((0, 32), dtype=np.uint32)
        self._leaves: list[U32] = []
        self._tiles: U32 = np.empty((0, 128), dtype=np.uint32)

    def fill(self) -> None:
        """Reserve the card's memory and fill D."""
        p = self._parameters
        self._memory = self._card.allocate(p.lines)
        fill(words(self._asked.seed), p.lines, p.chain_w, self._memory)

    def walk(self, asked: Walk) -> bytes:
        """Walk a round; the root of its leaves."""
        p = self._parameters
        nonce = words(protocol.card_nonce(asked.nonce, self._asked.seed))
        leaves = walk(self._memory, nonce, asked.round, p.walkers, p.segments, p.segment_steps)
        self._nonces.append(nonce)
        self._leaves.append(leaves)
        return self._commit(merkle.WALKNODE, leaves)

    def multiply(self, asked: Multiply) -> bytes:
        """Multiply; the root of the product's tiles."""
        p = self._parameters
        nonce = protocol.card_nonce(asked.nonce, self._asked.seed)
        self._tiles = multiply(self._memory, nonce, p.rows, p.columns)
        return self._commit(merkle.TILENODE, tile_digests(self._tiles))

    def close(self) -> None:
        """Give the card back."""
        self._card.close()

    def _commit(self, use: int, leaves: U32) -> bytes:
        """The root of these leaves, remembered for OPEN."""
        self._roots.append(merkle.root(use, leaves))
        return self._roots[-1]

    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        """Walk the leaf's walker again; the states around its segment and their paths."""
        walker, segment = divmod(leaf, self._parameters.segments)
        steps = self._parameters.segment_steps
        before, after = rewalk(self._memory, self._nonces[round_], round_, walker, segment, steps)
        tree = merkle.levels(merkle.WALKNODE, self._leaves[round_])
        return OpenedSegment(
            before=None if before is None else before.tobytes(),
            before_path=None if before is None else merkle.path(merkle.WALKNODE, tree, leaf - 1),
            after=after.tobytes(),
            after_path=merkle.path(merkle.WALKNODE, tree, leaf),
        )

    def _open_tiles(self, indices: Sequence[int]) -> tuple[OpenedTile, ...]:
        """The tiles at these leaves and their paths."""
        tree = merkle.levels(merkle.TILENODE, tile_digests(self._tiles))
        return tuple(
            OpenedTile(self._tiles[index].tobytes(), merkle.path(merkle.TILENODE, tree, index))
            for index in indices
        )
