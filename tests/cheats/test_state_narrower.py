from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.blake2s import U32
from kernels.walk import step_lanes
from tests.cheats.rig import judge, with_card
from tests.cheats.walking import Walking


class NarrowState(Walking):
    """Carries only the first words of the state from step to step: less to hold, and less to send between cards."""

    kept_words = 16

    def step(self, states: U32, lines: U32) -> None:
        super().step(states, lines)
        states[:, self.kept_words :] = 0


class NarrowLine(Walking):
    """Takes in only the first words of each line: a memory of less bandwidth would do."""

    kept_words = 16

    def step(self, states: U32, lines: U32) -> None:
        lines = lines.copy()
        lines[:, self.kept_words :] = 0
        super().step(states, lines)


@pytest.mark.parametrize("card", [NarrowState, NarrowLine])
@pytest.mark.parametrize("kept_words", [2, 8, 16, 31])
def test_a_narrower_walk_is_caught(card, kept_words):
    """Not one word of the 128 bytes can be left out, of the state or of a line."""
    narrow = type("Narrow", (card,), {"kept_words": kept_words})
    assert judge(with_card(narrow)).code == "WALK_STATE_WRONG"


ROUNDS = (
    (1, 5, 13, 0x9E3779B1),
    (2, 7, 17, 0x85EBCA77),
    (4, 9, 19, 0xC2B2AE3D),
    (8, 11, 23, 0x27D4EB2F),
    (16, 15, 27, 0x165667B1),
)


def test_every_word_depends_on_every_bit_that_is_read():
    """Each of a line's 1,024 bits, flipped, changes all 32 words of the state within the step that reads it."""
    states, lines = _random(seed=1, count=32), _random(seed=2, count=32)
    honest = _stepped(states, lines)
    for bit in range(1_024):
        flipped = lines.copy()
        flipped[:, bit // 32] ^= np.uint32(1 << bit % 32)
        assert (_stepped(states, flipped) != honest).all(), bit


def test_a_flipped_bit_spreads_over_the_whole_state():
    """After the step that reads it a bit has changed one bit a word at the least and half of all on average; after the
    next, half of all whichever bit it was.
    """
    states, lines, next_lines = (_random(seed, count=1_024) for seed in (3, 4, 5))
    flipped, bits = lines.copy(), np.arange(1_024)
    flipped[bits, bits // 32] ^= np.uint32(1) << (bits % 32).astype(np.uint32)
    honest, other = _stepped(states, lines), _stepped(states, flipped)
    changed = _share_of_bits(honest ^ other)
    assert changed.min() == 1 / 32
    assert changed.mean() == pytest.approx(0.485, abs=0.005)
    changed = _share_of_bits(_stepped(honest, next_lines) ^ _stepped(other, next_lines))
    assert changed.min() > 0.40
    assert changed.mean() == pytest.approx(0.5, abs=0.005)


def test_a_step_can_be_undone():
    """Each pair's map has an inverse, so states never run together and no entropy is lost, however long the walk."""
    states, lines = _random(seed=6, count=256), _random(seed=7, count=256)
    assert np.array_equal(_undone(_stepped(states, lines)) ^ lines, states)


def _random(seed: int, count: int) -> U32:
    return np.random.default_rng(seed).integers(0, 1 << 32, (count, 32), dtype=np.uint32)


def _share_of_bits(words: U32) -> NDArray[np.float64]:
    return np.unpackbits(words.view(np.uint8), axis=1).mean(axis=1)


def _stepped(states: U32, lines: U32) -> U32:
    after = states.copy()
    step_lanes(after, lines)
    return after


def _undone(states: U32) -> U32:
    """The five butterfly rounds backwards, uint32 [k, 32]."""
    before = states.copy()
    for distance, p, q, m in reversed(ROUNDS):
        low = np.array([j for j in range(32) if not j & distance])
        x, y = before[:, low], before[:, low + distance]
        y = _rotl(y ^ x, 32 - q)
        before[:, low] = x * np.uint32(pow(m, -1, 1 << 32)) - _rotl(y, p)
        before[:, low + distance] = y
    return before


def _rotl(x: U32, by: int) -> U32:
    return x << np.uint32(by) | x >> np.uint32(32 - by)
