from __future__ import annotations

import bz2
import lzma
import zlib

import numpy as np
import pytest

from kernels.cards import CardError, FolderCards, add_simulated_card
from kernels.fill import fill
from tests.cheats.rig import HonestCard, judge, with_card, words


def _memory(lines: int) -> bytes:
    memory = np.empty((lines, 32), dtype=np.uint32)
    fill(words(bytes(range(32))), lines, 2, memory)
    return memory.tobytes()


@pytest.mark.parametrize("pack", [zlib.compress, bz2.compress, lzma.compress])
def test_memory_can_not_be_compressed(pack):
    """D is digests: no general compressor makes it one byte shorter, and the seed is the only short form of it."""
    whole = _memory(4_096)
    assert len(pack(whole)) > len(whole)


def test_compressed_memory_does_not_fit_a_smaller_card(tmp_path):
    """A card with 2 % less than |D| has no room for the best that a compressor makes of it."""
    whole = _memory(1_024)
    add_simulated_card(tmp_path, "GPU-1", 98 * len(whole) // 100)
    with pytest.raises(CardError, match="bytes free"):
        FolderCards(tmp_path).open("GPU-1").allocate(-(-len(zlib.compress(whole, 9)) // 128))


class Lossy(HonestCard):
    """Keeps the upper 31 bits of each word: 3 % of the memory saved."""

    def fill(self) -> None:
        super().fill()
        self._memory &= 0xFFFFFFFE


def test_lossy_memory_is_caught():
    """What is dropped from a line is missed when the segment is walked again."""
    assert judge(with_card(Lossy)).code == "WALK_STATE_WRONG"
