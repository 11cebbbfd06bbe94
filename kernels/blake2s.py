"""BLAKE2s-256, unkeyed and personalised: the one primitive of the proof (RFC 7693).

    H(use, message) = hashlib.blake2s(message, person=use).digest()

Every message here is whole blocks of 64 bytes. Two CPU forms compute the same bits: one message at a
time, and many side by side in *lanes*. In lanes, word `i` of message `l` is at `[i, l]`, and the
innermost loop of every quarter round runs over the lanes, so that LLVM turns it into vectors: 128
lanes cost about a fifth of 128 single compressions. Rows are `PITCH` words apart, not 128: at a power
of two, rows 0 and 8 would share the low 12 bits of their addresses and stall each other.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.protocol import USES

LANES = 128
PITCH = LANES + 8
SCALAR_BELOW = 20
"""With fewer messages than this left, one at a time is cheaper than a block of lanes."""

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

SEED, FILL, NONCE, START, STATE, COLUMN, STRIDE, TILE, WALKNODE, TILENODE, OPEN, PLACE, COMMIT = range(13)
"""The uses as kernels name them: rows of `INITIAL`, in the order of `protocol.USES`."""

LAST = 0xFFFFFFFF
"""The flag f of a message's last block."""

IV = (
    0x6A09E667,
    0xBB67AE85,
    0x3C6EF372,
    0xA54FF53A,
    0x510E527F,
    0x9B05688C,
    0x1F83D9AB,
    0x5BE0CD19,
)
_IV = np.array(IV, dtype=np.uint32)

SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_SIGMA = np.array(SIGMA, dtype=np.int64)


def initial_state(person: bytes) -> U32:
    """The chaining value before the first block, uint32 [8], for 32-byte digests with this `person`."""
    parameters = np.zeros(8, dtype=np.uint32)
    parameters[0] = 0x01010020
    parameters[6:8] = np.frombuffer(person.ljust(8, b"\0"), dtype="<u4")
    return _IV ^ parameters


INITIAL = np.stack([initial_state(use) for use in USES])
"""uint32 [uses, 8]: the initial states, indexed by SEED, FILL, ..."""

_u32 = np.uint32


# --- one message at a time ---------------------------------------------------------------------------


@njit(forceinline=True)
def _quarter(a, b, c, d, x, y):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0917  literals and scalars of the caller
    """Mix two message words into four state words; casts keep Numba from widening to 64 bits."""
    a = _u32(_u32(a + b) + x)
    d = _u32(d ^ a)
    d = _u32(_u32(d >> _u32(16)) | _u32(d << _u32(16)))
    c = _u32(c + d)
    b = _u32(b ^ c)
    b = _u32(_u32(b >> _u32(12)) | _u32(b << _u32(20)))
    a = _u32(_u32(a + b) + y)
    d = _u32(d ^ a)
    d = _u32(_u32(d >> _u32(8)) | _u32(d << _u32(24)))
    c = _u32(c + d)
    b = _u32(b ^ c)
    b = _u32(_u32(b >> _u32(7)) | _u32(b << _u32(25)))
    return a, b, c, d


@njit("void(uint32[::1], uint32[::1], int64, int64)", cache=True, nogil=True)
def compress(h: U32, m: U32, t: int, f: int) -> None:
    """Compress one block: h uint32 [8] in place, m uint32 [16], t bytes so far, f LAST or 0."""
    a0, a1, a2, a3, b0, b1, b2, b3 = h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
    c0, c1, c2, c3 = _IV[0], _IV[1], _IV[2], _IV[3]
    d0, d1 = _u32(_IV[4] ^ _u32(t)), _u32(_IV[5] ^ _u32(t >> 32))
    d2, d3 = _u32(_IV[6] ^ _u32(f)), _IV[7]
    for r in range(10):
        s = _SIGMA[r]
        a0, b0, c0, d0 = _quarter(a0, b0, c0, d0, m[s[0]], m[s[1]])
        a1, b1, c1, d1 = _quarter(a1, b1, c1, d1, m[s[2]], m[s[3]])
        a2, b2, c2, d2 = _quarter(a2, b2, c2, d2, m[s[4]], m[s[5]])
        a3, b3, c3, d3 = _quarter(a3, b3, c3, d3, m[s[6]], m[s[7]])
        a0, b1, c2, d3 = _quarter(a0, b1, c2, d3, m[s[8]], m[s[9]])
        a1, b2, c3, d0 = _quarter(a1, b2, c3, d0, m[s[10]], m[s[11]])
        a2, b3, c0, d1 = _quarter(a2, b3, c0, d1, m[s[12]], m[s[13]])
        a3, b0, c1, d2 = _quarter(a3, b0, c1, d2, m[s[14]], m[s[15]])
    h[0] ^= a0 ^ c0
    h[1] ^= a1 ^ c1
    h[2] ^= a2 ^ c2
    h[3] ^= a3 ^ c3
    h[4] ^= b0 ^ d0
    h[5] ^= b1 ^ d1
    h[6] ^= b2 ^ d2
    h[7] ^= b3 ^ d3


@njit("void(int64, uint32[::1], uint32[::1])", cache=True, nogil=True)
def digest_one(use: int, message: U32, out: U32) -> None:
    """The digest of one message of whole blocks, uint32 [16 x blocks], into out uint32 [8]."""
    for i in range(8):
        out[i] = INITIAL[use, i]
    blocks = message.size // 16
    for b in range(blocks):
        compress(out, message[16 * b : 16 * b + 16], 64 * (b + 1), LAST if b == blocks - 1 else 0)


# --- many messages in lanes --------------------------------------------------------------------------


@njit(forceinline=True)
def _quarter_lanes(v, a, b, c, d, m, x, y):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0917  literals and scalars of the caller
    """One quarter round of all lanes: this loop is the one that becomes vectors."""
    for lane in range(LANES):
        v[a, lane], v[b, lane], v[c, lane], v[d, lane] = _quarter(
            v[a, lane], v[b, lane], v[c, lane], v[d, lane], m[x, lane], m[y, lane]
        )


@njit("void(uint32[:,::1], uint32[:,::1])", cache=True, nogil=True)
def _rounds_lanes(v: U32, m: U32) -> None:
    """The ten rounds over v uint32 [16, PITCH], in place, with the messages m [16, PITCH]."""
    for r in range(10):
        s = _SIGMA[r]
        _quarter_lanes(v, 0, 4, 8, 12, m, s[0], s[1])
        _quarter_lanes(v, 1, 5, 9, 13, m, s[2], s[3])
        _quarter_lanes(v, 2, 6, 10, 14, m, s[4], s[5])
        _quarter_lanes(v, 3, 7, 11, 15, m, s[6], s[7])
        _quarter_lanes(v, 0, 5, 10, 15, m, s[8], s[9])
        _quarter_lanes(v, 1, 6, 11, 12, m, s[10], s[11])
        _quarter_lanes(v, 2, 7, 8, 13, m, s[12], s[13])
        _quarter_lanes(v, 3, 4, 9, 14, m, s[14], s[15])


@njit("void(uint32[:,::1], uint32[:,::1], int64, int64)", cache=True, nogil=True)
def compress_lanes(h: U32, m: U32, t: int, f: int) -> None:
    """Compress one block of every lane: h uint32 [8, PITCH] in place, m uint32 [16, PITCH]; t and f as there."""
    v = np.empty((16, PITCH), dtype=np.uint32)
    tail = (
        _IV[0],
        _IV[1],
        _IV[2],
        _IV[3],
        _u32(_IV[4] ^ _u32(t)),
        _u32(_IV[5] ^ _u32(t >> 32)),
        _u32(_IV[6] ^ _u32(f)),
        _IV[7],
    )
    for i in range(8):
        word = tail[i]
        for lane in range(LANES):
            v[i, lane] = h[i, lane]
            v[8 + i, lane] = word
    _rounds_lanes(v, m)
    for i in range(8):
        for lane in range(LANES):
            h[i, lane] ^= v[i, lane] ^ v[8 + i, lane]


@njit("void(uint32[:,::1], int64)", cache=True, nogil=True)
def _set_rows(h: U32, use: int) -> None:
    """Begin a digest in every lane: h uint32 [8, PITCH] becomes the initial state of the use."""
    for i in range(8):
        for lane in range(LANES):
            h[i, lane] = INITIAL[use, i]


@njit("uint32[:,::1](int64, uint32[:,::1])", cache=True, nogil=True)
def digest_words_lanes(use: int, messages: U32) -> U32:
    """The digests of k messages of whole blocks: uint32 [k, 16 x blocks] -> uint32 [k, 8]."""
    k, blocks = messages.shape[0], messages.shape[1] // 16
    out = np.empty((k, 8), dtype=np.uint32)
    h = np.empty((8, PITCH), dtype=np.uint32)
    m = np.zeros((16, PITCH), dtype=np.uint32)
    first = 0
    while k - first >= SCALAR_BELOW:
        count = min(LANES, k - first)
        _set_rows(h, use)
        for b in range(blocks):
            for lane in range(count):
                for i in range(16):
                    m[i, lane] = messages[first + lane, 16 * b + i]
            compress_lanes(h, m, 64 * (b + 1), LAST if b == blocks - 1 else 0)
        for lane in range(count):
            for i in range(8):
                out[first + lane, i] = h[i, lane]
        first += count
    for row in range(first, k):
        digest_one(use, messages[row], out[row])
    return out


def digest_lanes(use: int, messages: U8) -> U8:
    """The digests of k messages of whole blocks: uint8 [k, 64 x blocks] -> uint8 [k, 32].

    The bytes' door to `digest_words_lanes`, which is what other kernels call.
    """
    words = np.require(messages, np.uint8, ["C", "A", "W"]).view(np.uint32)
    digests: U8 = digest_words_lanes(use, words).view(np.uint8)
    return digests


# --- the fill's chain ----------------------------------------------------------------------------------


@njit("void(uint32[::1], uint64, uint32, int64, uint32[::1])", cache=True, nogil=True)
def _chain_one(seed: U32, line: int, block: int, w: int, out: U32) -> None:
    """One chain on its own, into out uint32 [8]."""
    m = np.zeros(16, dtype=np.uint32)
    for i in range(8):
        m[i] = seed[i]
    m[8] = _u32(line)
    m[9] = _u32(line >> np.uint64(32))
    m[10] = block
    for _ in range(w):
        for i in range(8):
            out[i] = INITIAL[FILL, i]
        compress(out, m, 64, LAST)
        for i in range(8):
            m[i] = out[i]


@njit("uint32[:,::1](uint32[:,::1], uint64[::1], uint32[::1], int64)", cache=True, nogil=True)
def chain_fill_lanes(seeds: U32, lines: U64, blocks: U32, w: int) -> U32:
    """Chain w `fill` compressions, each of k with its own seed, line and block number.

    state = seed; w times state = H(fill, state || line u64 || block u32 || zeros(20)).

    seeds uint32 [k, 8], lines uint64 [k], blocks uint32 [k] -> uint32 [k, 8].
    """
    k = lines.size
    out = np.empty((k, 8), dtype=np.uint32)
    h = np.empty((8, PITCH), dtype=np.uint32)
    m = np.zeros((16, PITCH), dtype=np.uint32)
    first = 0
    while k - first >= SCALAR_BELOW:
        count = min(LANES, k - first)
        for lane in range(count):
            at = first + lane
            for i in range(8):
                m[i, lane] = seeds[at, i]
            m[8, lane] = _u32(lines[at])
            m[9, lane] = _u32(lines[at] >> np.uint64(32))
            m[10, lane] = blocks[at]
        for _ in range(w):
            _set_rows(h, FILL)
            compress_lanes(h, m, 64, LAST)
            for i in range(8):
                for lane in range(LANES):
                    m[i, lane] = h[i, lane]
        for lane in range(count):
            for i in range(8):
                out[first + lane, i] = m[i, lane]
        first += count
    for at in range(first, k):
        _chain_one(seeds[at], lines[at], blocks[at], w, out[at])
    return out
