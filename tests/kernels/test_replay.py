from __future__ import annotations

import hashlib
import struct

import numpy as np

from kernels.replay import product_entries, replay_segments

MASK = 0xFFFFFFFF
TABLE = (
    (1, 5, 13, 0x9E3779B1),
    (2, 7, 17, 0x85EBCA77),
    (4, 9, 19, 0xC2B2AE3D),
    (8, 11, 23, 0x27D4EB2F),
    (16, 15, 27, 0x165667B1),
)
"""The table of docs/gpu-proof.md."""


def _digest(person: bytes, message: bytes) -> bytes:
    return hashlib.blake2s(message, person=person).digest()


def _line(seed: bytes, line: int, w: int) -> bytes:
    made = b""
    for block in range(4):
        state = seed
        for _ in range(w):
            state = _digest(b"fill", struct.pack("<32sQI20x", state, line, block))
        made += state
    return made


def _rotated(word: int, by: int) -> int:
    return (word << by | word >> (32 - by)) & MASK


def _mixed(words: list[int]) -> list[int]:
    for d, p, q, m in TABLE:
        for j in range(32):
            if not j & d:
                words[j] = (words[j] + _rotated(words[j + d], p)) * m & MASK
                words[j + d] = _rotated(words[j + d], q) ^ words[j]
    return words


def _walked(state: bytes, seed: bytes, n: int, w: int, steps: int) -> bytes:
    for _ in range(steps):
        (head,) = struct.unpack_from("<Q", state)
        read = _line(seed, head * n >> 64, w)
        state = bytes(a ^ b for a, b in zip(state, read, strict=True))
        state = struct.pack("<32I", *_mixed(list(struct.unpack("<32I", state))))
    return state


def _words(rows: list[bytes]) -> np.ndarray:
    return np.frombuffer(bytearray().join(rows), dtype=np.uint32).reshape(len(rows), -1)


def test_segments_are_walked_as_hashlib_walks_them():
    """Walks of cards with other seeds and other sizes, up to 2^32 lines, side by side and each as if alone."""
    rng = np.random.default_rng(1)
    sizes = [32, 575_000_000, 1 << 32, 2_250_000_000, 12_345 * 32] * 9
    starts = [rng.bytes(128) for _ in sizes]
    seeds = [rng.bytes(32) for _ in sizes]
    got = replay_segments(_words(starts), _words(seeds), np.array(sizes, dtype=np.uint64), 2, 3)
    for k, n in enumerate(sizes):
        assert got[k].tobytes() == _walked(starts[k], seeds[k], n, 2, 3)


def test_starts_are_left_alone():
    """The states that are given stay what they were."""
    starts = np.arange(64, dtype=np.uint32).reshape(2, 32)
    replay_segments(starts, np.zeros((2, 8), np.uint32), np.array([32, 64], dtype=np.uint64), 1, 1)
    assert np.array_equal(starts, np.arange(64, dtype=np.uint32).reshape(2, 32))


def test_entries_are_sums_over_page_and_column():
    """Seventy entries, more than are made at once, each the exact sum of its own page and column mod 2^16."""
    rng = np.random.default_rng(2)
    k, w = 70, 1
    seeds, nonces = [rng.bytes(32) for _ in range(k)], [rng.bytes(32) for _ in range(k)]
    pages = rng.integers(0, 1 << 27, k, dtype=np.uint64)
    columns = rng.integers(0, 1024, k, dtype=np.uint32)
    got = product_entries(_words(seeds), _words(nonces), pages, columns, w)
    for e in (0, 1, 63, 64, 69):
        page = b"".join(_line(seeds[e], 32 * int(pages[e]) + line, w) for line in range(32))
        heads = [struct.pack("<32sII24x", nonces[e], columns[e], counter) for counter in range(128)]
        column = b"".join(_digest(b"column", head) for head in heads)
        total = sum(
            a * b for a, b in zip(struct.unpack("4096b", page), struct.unpack("4096b", column), strict=True)
        )
        assert got[e] == total % 65_536
