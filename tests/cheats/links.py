"""Several cards that pass for one: what crosses between them is sent over links that count it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kernels.blake2s import U32
from kernels.protocol import LINE_BYTES
from tasks.inspection.models import MODELS
from tests.cheats.cost import CountedCard, Hardware

ADDRESS_BYTES = 8


class Split(CountedCard):
    """D lies on `count` cards, and none has more than its part; a cheat says by what it is cut."""

    count = 4

    def __init__(self, *of: object) -> None:
        super().__init__(*of)
        self.sent = np.zeros(self.count, dtype=np.int64)
        """Bytes that each card has put on its link."""

    def fill(self) -> None:
        super().fill()
        self._parts = self.cut(self._memory)
        assert max(part.nbytes for part in self._parts) <= self._parameters.memory_bytes // self.count
        self._memory = np.empty((0, 32), dtype=np.uint32)

    def cut(self, memory: U32) -> list[U32]:
        """The cards' parts of D."""
        raise NotImplementedError

    def send(self, sender: NDArray[np.int64], size: int, times: int = 1) -> None:
        """Each of these cards sends so many bytes."""
        np.add.at(self.sent, sender, size * times)

    def next_stage(self) -> None:
        self.work.link_bytes += int(self.sent.max())
        self.bytes_a_step = self.sent.sum() / max(self.work.steps, 1)
        self.sent[:] = 0
        super().next_stage()

    @property
    def homes(self) -> NDArray[np.int64]:
        """The card that each walker's state lives on."""
        return np.arange(self._parameters.walkers) % self.count


def together(card: Hardware, count: int) -> Hardware:
    """So many cards as one: memory and units of all; each has its own link, and all are used at the same time."""
    return replace(
        card,
        proved_bytes=card.proved_bytes * count,
        bandwidth_bytes_s=card.bandwidth_bytes_s * count,
        instructions_s=card.instructions_s * count,
    )


def least_bytes_a_step(count: int) -> float:
    """The part of each line that lies elsewhere: 96 of 128 bytes with four cards."""
    return LINE_BYTES * (count - 1) / count


def usd_per_hour(name: str) -> float:
    """Of one card of the table."""
    return next(m.base_price_usd_per_hour for m in MODELS if m.name == name)
