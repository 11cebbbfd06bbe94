from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from kernels.blake2s import U32, U64
from tests.cheats.cost import NVLINK_3, NVLINK_4, PCIE_4, PCIE_5, hardware, judge_timed, share_of
from tests.cheats.links import ADDRESS_BYTES, Split, least_bytes_a_step, together

PART_WORDS = 8
"""Of each line's 32, on each of four cards."""
ROUNDS = (
    (1, 5, 13, 0x9E3779B1),
    (2, 7, 17, 0x85EBCA77),
    (4, 9, 19, 0xC2B2AE3D),
    (8, 11, 23, 0x27D4EB2F),
    (16, 15, 27, 0x165667B1),
)


class ByColumns(Split):
    """Every card has eight words of each line; the parts come together on the card that has the walker's state."""

    def cut(self, memory: U32) -> list[U32]:
        return [memory[:, 8 * card : 8 * card + 8].copy() for card in range(self.count)]

    def lines(self, wanted: U64) -> U32:
        self.work.lines_read += len(wanted)
        if len(wanted) == self._parameters.walkers:
            self.bring(wanted)
        return np.concatenate([part[wanted] for part in self._parts], axis=1)

    def bring(self, wanted: U64) -> None:  # noqa: ARG002  which lines does not matter: each is everywhere
        self.send(self.homes, ADDRESS_BYTES, times=self.count - 1)
        for other in range(1, self.count):
            self.send((self.homes + other) % self.count, 4 * PART_WORDS)


class StatesSpread(ByColumns):
    """The states are cut the same way: no line travels, but the last two butterfly rounds join words of two cards."""

    def bring(self, wanted: U64) -> None:
        """The address is in the first card's words."""
        self.send(np.zeros(len(wanted), dtype=np.int64), ADDRESS_BYTES, times=self.count - 1)

    def step(self, states: U32, lines: U32) -> None:
        states ^= lines
        for distance, p, q, m in ROUNDS:
            low = np.array([j for j in range(32) if not j & distance])
            x, y = states[:, low], states[:, low + distance]
            self._exchange(low, distance, len(states))
            x = (x + _rotl(y, p)) * np.uint32(m)
            states[:, low], states[:, low + distance] = x, _rotl(y, q) ^ x

    def _exchange(self, low: np.ndarray, distance: int, walkers: int) -> None:
        """Where a pair's words lie on two cards, one sends y, and the other sends the new x back."""
        for j in low:
            here, there = j // PART_WORDS, (j + distance) // PART_WORDS
            if here != there:
                self.send(np.full(walkers, here), 4)
                self.send(np.full(walkers, there), 4)


def _rotl(x: U32, by: int) -> U32:
    return x << np.uint32(by) | x >> np.uint32(32 - by)


@pytest.mark.parametrize(
    ("card", "bytes_a_step"), [(ByColumns, 3 * 32 + 3 * 8), (StatesSpread, 2 * 128 + 3 * 8)]
)
def test_every_step_crosses_the_links(card, bytes_a_step):
    """Lines that come together cost 96 bytes a step and the address, states that are spread 256 and the address."""
    told = []

    class Told(card):
        def next_stage(self) -> None:
            super().next_stage()
            told.append(self.bytes_a_step)

    claim = hardware("A100-SXM4-80GB")
    assert judge_timed(Told, claim, replace(claim, link_bytes_s=math.inf)).code == "PROVED"
    assert told[1:5] == [bytes_a_step] * 4
    assert bytes_a_step >= least_bytes_a_step(4)


CLAIMS = [
    ("H100 80GB HBM3", "GeForce RTX 5090", PCIE_5),
    ("B200", "H100 80GB HBM3", NVLINK_4),
]
SLOWER_CLAIMS = [
    ("A100-SXM4-80GB", "GeForce RTX 3090", PCIE_4),
    ("RTX PRO 6000 Blackwell", "GeForce RTX 4090", PCIE_4),
    ("H100 80GB HBM3", "A100-SXM4-40GB", NVLINK_3),
]
"""Over links of an older generation each."""


@pytest.mark.parametrize("card", [ByColumns, StatesSpread])
@pytest.mark.parametrize(
    ("claimed", "real", "link"),
    [
        *(pytest.param(*claim, id="{1} as {0}".format(*claim)) for claim in CLAIMS),
        *(
            pytest.param(*claim, id="{1} as {0}".format(*claim), marks=pytest.mark.long)
            for claim in SLOWER_CLAIMS
        ),
    ],
)
def test_four_cards_by_columns_are_too_slow(card, claimed, real, link):
    """Four cards as one dear card read no faster than their links carry."""
    claim, has = hardware(claimed), together(hardware(real, link), 4)
    verdict = judge_timed(card, claim, has)
    assert verdict.code in {"BANDWIDTH_TOO_LOW", "PROOF_TOO_LATE"}
    if verdict.code == "BANDWIDTH_TOO_LOW":
        assert share_of(verdict, claim) < 0.65
