"""The seam between the conversation and the kernels: what one card does, whichever kernels do it.

A form of the kernels opens cards; each card fills, walks, multiplies and opens, and commits to what it found. The
conversation (kernels/prover.py) knows nothing else of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from kernels import protocol
from kernels.blake2s import U32
from kernels.messages import (
    FORM_UNAVAILABLE,
    CardSeed,
    Multiply,
    OpenedCard,
    OpenedSegment,
    OpenedTile,
    Walk,
)
from kernels.protocol import Parameters


class FormUnavailable(Exception):
    """This machine can't run the form of the kernels that is asked for; the text says what is missing."""

    code = FORM_UNAVAILABLE


class CardWork(ABC):
    """One card's part of a conversation; any of it may raise CardError."""

    def __init__(self, parameters: Parameters, asked: CardSeed) -> None:
        self._parameters, self._asked = parameters, asked
        self._nonces: list[U32] = []
        """The card's own nonce of each round walked."""
        self._roots: list[bytes] = []
        """What the card has committed to: the rounds, then the product."""

    @property
    def index(self) -> int:
        """The card's index in GO."""
        return self._asked.index

    @abstractmethod
    def fill(self) -> None:
        """Reserve the card's memory and fill D."""

    @abstractmethod
    def walk(self, asked: Walk) -> bytes:
        """Walk a round; the root of its leaves."""

    @abstractmethod
    def multiply(self, asked: Multiply) -> bytes:
        """Multiply; the root of the product's tiles."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; a second time does nothing."""

    def open(self, secret: bytes) -> OpenedCard:
        """Open the places that the secret and the roots decide."""
        p = self._parameters
        opened = protocol.open_digest(self._asked.seed, self._roots[:-1], self._roots[-1])
        drawn = [protocol.place(secret, opened, j) for j in range(p.rounds + p.tiles)]
        segments = [self._open_segment(r, drawn[r].index(p.leaves)) for r in range(p.rounds)]
        return OpenedCard(
            tuple(segments), self._open_tiles([place.index(p.tile_count) for place in drawn[p.rounds :]])
        )

    @abstractmethod
    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        """Walk the leaf's walker again; the states around its segment and their paths."""

    @abstractmethod
    def _open_tiles(self, indices: Sequence[int]) -> tuple[OpenedTile, ...]:
        """The tiles at these leaves and their paths."""


class Form(Protocol):
    """The kernels of one form, and where they find their cards."""

    @property
    def threads(self) -> int | None:
        """Cards that work at the same time; None for all of them."""
        ...

    def check(self, parameters: Parameters) -> None:
        """Refuse sizes that this form can't carry; raises BadMessage."""
        ...

    def open(self, parameters: Parameters, asked: CardSeed) -> CardWork:
        """One card of GO; raises CardError when it can't be used."""
        ...


def words(octets: bytes) -> U32:
    """Bytes as little-endian words, uint32."""
    return np.frombuffer(octets, dtype="<u4").copy()
