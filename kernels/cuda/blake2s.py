"""BLAKE2s-256 on a card: one thread, one message, everything in registers.

The 16 words of the state and the 16 of the message are tuples with literal indices alone, never an array: an
array with computed indices would live in the thread's local memory, which is the card's main memory.
"""

from __future__ import annotations

import numpy as np

from kernels.blake2s import COLUMN, FILL, INITIAL, IV, START, STATE, TILE
from kernels.cuda.kernel import Word, Words, device, u32

LAST = u32(0xFFFFFFFF)
NOT_LAST = u32(0)
ZERO = u32(0)
_IV0, _IV1, _IV2, _IV3, _IV4, _IV5, _IV6, _IV7 = (u32(word) for word in IV)


def initial(use: int) -> Words:
    """The chaining value of a use before the first block, eight words."""
    return tuple(u32(word) for word in INITIAL[use])


FILL_INITIAL = initial(FILL)
START_INITIAL = initial(START)
STATE_INITIAL = initial(STATE)
COLUMN_INITIAL = initial(COLUMN)
TILE_INITIAL = initial(TILE)


@device
def _quarter(a: Word, b: Word, c: Word, d: Word, x: Word, y: Word) -> Words:
    """Mix two message words into four state words; casts keep Numba from widening to 64 bits."""
    a = u32(u32(a + b) + x)
    d = u32(d ^ a)
    d = u32(u32(d >> u32(16)) | u32(d << u32(16)))
    c = u32(c + d)
    b = u32(b ^ c)
    b = u32(u32(b >> u32(12)) | u32(b << u32(20)))
    a = u32(u32(a + b) + y)
    d = u32(d ^ a)
    d = u32(u32(d >> u32(8)) | u32(d << u32(24)))
    c = u32(c + d)
    b = u32(b ^ c)
    b = u32(u32(b >> u32(7)) | u32(b << u32(25)))
    return a, b, c, d


@device
def _round(
    v: Words,
    m0: Word,
    m1: Word,
    m2: Word,
    m3: Word,
    m4: Word,
    m5: Word,
    m6: Word,
    m7: Word,
    m8: Word,
    m9: Word,
    m10: Word,
    m11: Word,
    m12: Word,
    m13: Word,
    m14: Word,
    m15: Word,
) -> Words:
    """One round over v, 16 words, with the message words in this round's order."""
    a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3 = v
    a0, b0, c0, d0 = _quarter(a0, b0, c0, d0, m0, m1)
    a1, b1, c1, d1 = _quarter(a1, b1, c1, d1, m2, m3)
    a2, b2, c2, d2 = _quarter(a2, b2, c2, d2, m4, m5)
    a3, b3, c3, d3 = _quarter(a3, b3, c3, d3, m6, m7)
    a0, b1, c2, d3 = _quarter(a0, b1, c2, d3, m8, m9)
    a1, b2, c3, d0 = _quarter(a1, b2, c3, d0, m10, m11)
    a2, b3, c0, d1 = _quarter(a2, b3, c0, d1, m12, m13)
    a3, b0, c1, d2 = _quarter(a3, b0, c1, d2, m14, m15)
    return a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3


@device
def compress(h: Words, m: Words, t: np.uint32, f: np.uint32) -> Words:
    """Compress one block: h 8 words, m 16 words, t bytes so far (of messages below 4 GiB), f LAST or NOT_LAST."""
    m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15 = m
    v = h + (_IV0, _IV1, _IV2, _IV3, u32(_IV4 ^ t), _IV5, u32(_IV6 ^ f), _IV7)
    v = _round(v, m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15)
    v = _round(v, m14, m10, m4, m8, m9, m15, m13, m6, m1, m12, m0, m2, m11, m7, m5, m3)
    v = _round(v, m11, m8, m12, m0, m5, m2, m15, m13, m10, m14, m3, m6, m7, m1, m9, m4)
    v = _round(v, m7, m9, m3, m1, m13, m12, m11, m14, m2, m6, m5, m10, m4, m0, m15, m8)
    v = _round(v, m9, m0, m5, m7, m2, m4, m10, m15, m14, m1, m11, m12, m6, m8, m3, m13)
    v = _round(v, m2, m12, m6, m10, m0, m11, m8, m3, m4, m13, m7, m5, m15, m14, m1, m9)
    v = _round(v, m12, m5, m1, m15, m14, m13, m4, m10, m0, m7, m6, m3, m9, m2, m8, m11)
    v = _round(v, m13, m11, m7, m14, m12, m1, m3, m9, m5, m0, m15, m4, m8, m6, m2, m10)
    v = _round(v, m6, m15, m14, m9, m11, m3, m0, m8, m12, m2, m13, m7, m1, m4, m10, m5)
    v = _round(v, m10, m2, m8, m4, m7, m6, m1, m5, m15, m11, m9, m14, m3, m12, m13, m0)
    return (
        u32(h[0] ^ v[0] ^ v[8]),
        u32(h[1] ^ v[1] ^ v[9]),
        u32(h[2] ^ v[2] ^ v[10]),
        u32(h[3] ^ v[3] ^ v[11]),
        u32(h[4] ^ v[4] ^ v[12]),
        u32(h[5] ^ v[5] ^ v[13]),
        u32(h[6] ^ v[6] ^ v[14]),
        u32(h[7] ^ v[7] ^ v[15]),
    )
