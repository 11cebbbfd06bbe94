import hashlib

import numpy as np
import pytest

from kernels import blake2s
from kernels.protocol import USES
from tests import naive


def octets(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [64, 128, 192, 512])
@pytest.mark.parametrize("use", range(len(USES)), ids=[use.decode() for use in USES])
def test_lanes_equal_hashlib(use, size):
    """Digests in lanes are hashlib's, for every use and every length, alone, in part of a block and in several."""

    for count in (0, 1, blake2s.SCALAR_BELOW - 1, blake2s.SCALAR_BELOW, blake2s.LANES + 1, 150):
        messages = octets(count, size)
        wanted = [hashlib.blake2s(m.tobytes(), person=USES[use]).digest() for m in messages]

        assert [d.tobytes() for d in blake2s.digest_lanes(use, messages)] == wanted


def test_lanes_take_foreign_bytes():
    """Messages out of a received frame, read-only and not aligned to words, are digested all the same."""

    frame = bytes(range(65))
    messages = np.frombuffer(frame, dtype=np.uint8, offset=1).reshape(1, 64)

    assert blake2s.digest_lanes(blake2s.START, messages)[0].tobytes() == naive.H("start", frame[1:])


def test_uses_are_named_in_order():
    """The names by which kernels choose a use stand for the persons of the protocol."""

    names = [
        "SEED",
        "FILL",
        "NONCE",
        "START",
        "STATE",
        "COLUMN",
        "STRIDE",
        "TILE",
        "WALKNODE",
        "TILENODE",
        "OPEN",
        "PLACE",
        "COMMIT",
    ]

    assert [USES[getattr(blake2s, name)].decode().upper() for name in names] == names
    assert len(names) == len(USES)


@pytest.mark.parametrize("size", [64, 192])
def test_one_message(size):
    """A message by itself has the digest that it has in lanes."""

    message = octets(size)
    out = np.empty(8, dtype=np.uint32)

    blake2s.digest_one(blake2s.STATE, message.view(np.uint32), out)

    assert out.tobytes() == naive.H("state", message.tobytes())


def test_compress_counts_beyond_32_bits():
    """The byte counter's high word enters the compression, alone and in lanes alike."""

    h, m = octets(32).view(np.uint32), octets(64).view(np.uint32)
    lanes = np.zeros((8, blake2s.PITCH), dtype=np.uint32)
    blocks = np.zeros((16, blake2s.PITCH), dtype=np.uint32)
    lanes[:, 5], blocks[:, 5] = h, m
    low = h.copy()

    blake2s.compress_lanes(lanes, blocks, 64 + (7 << 32), 0)
    blake2s.compress(h, m, 64 + (7 << 32), 0)
    blake2s.compress(low, m, 64, 0)

    assert (lanes[:, 5] == h).all()
    assert (low != h).any()


@pytest.mark.parametrize("count", [1, blake2s.SCALAR_BELOW, blake2s.LANES + 3])
@pytest.mark.parametrize("w", [1, 3])
def test_chain_with_a_seed_a_lane(count, w):
    """Every lane of the fill's chain has its own seed, line (of 64 bits) and block."""

    seeds = octets(count, 32)
    lines = np.arange(count, dtype=np.uint64) * np.uint64(0x1_0000_0001)
    blocks = np.arange(count, dtype=np.uint32) % 4

    states = blake2s.chain_fill_lanes(seeds.view(np.uint32), lines, blocks, w)

    for at in range(count):
        block = int(blocks[at])
        wanted = naive.line(seeds[at].tobytes(), int(lines[at]), w)[32 * block : 32 * block + 32]
        assert states[at].tobytes() == wanted
