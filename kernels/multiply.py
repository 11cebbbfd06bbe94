"""Multiply: C = A B over int8, with the rows of A drawn from all of D.

A page is 32 lines, 4,096 bytes, read as int8. Row r of A is page (a r + b) mod pages; column c of B is the
digests H(column, nonce || c u32 || counter u32 || zeros(24)), counter 0..127. Only C mod 2^16 is committed, in
tiles of 16 x 16 entries, so sums in int16 that wrap give the very bits of sums in int32; vectors of int16
hold twice as many.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.blake2s import COLUMN, TILE, U32, digest_words_lanes
from kernels.protocol import PAGE_BYTES, TILE_BYTES, TILE_SIDE, stride

I8 = NDArray[np.int8]
I16 = NDArray[np.int16]

_ROWS_AT_ONCE = 256
_DEPTH_AT_ONCE = 1024
"""Of k = 4,096: four columns' share stays in the first-level cache, 256 rows' share in the second."""
_i16 = np.int16


def columns_at(nonces: U32, columns: U32) -> I8:
    """Any k columns of B, each of its own card's nonce: uint32 [k, 8], uint32 [k] -> int8 [k, 4096]."""
    k = columns.size
    messages = np.zeros((k, 128, 16), dtype=np.uint32)
    messages[:, :, 0:8] = nonces[:, None]
    messages[:, :, 8] = columns[:, None]
    messages[:, :, 9] = np.arange(128, dtype=np.uint32)
    digests: U32 = digest_words_lanes(COLUMN, messages.reshape(128 * k, 16))
    return digests.view(np.int8).reshape(k, PAGE_BYTES)


@njit("void(int16[:,::1], int16[:,::1], int16[:,::1])", cache=True, nogil=True)
def _product(a: I16, b: I16, c: I16) -> None:
    """C += A B^T in int16 that wraps; a [rows, k], b [columns, k], rows even and columns a multiple of 4."""
    for k0 in range(0, a.shape[1], _DEPTH_AT_ONCE):
        for j in range(0, b.shape[0], 4):
            for i in range(0, a.shape[0], 2):
                s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = _i16(0)
                for k in range(k0, k0 + _DEPTH_AT_ONCE):
                    x, y = a[i, k], a[i + 1, k]
                    s0 = _i16(s0 + _i16(x * b[j, k]))
                    s1 = _i16(s1 + _i16(x * b[j + 1, k]))
                    s2 = _i16(s2 + _i16(x * b[j + 2, k]))
                    s3 = _i16(s3 + _i16(x * b[j + 3, k]))
                    t0 = _i16(t0 + _i16(y * b[j, k]))
                    t1 = _i16(t1 + _i16(y * b[j + 1, k]))
                    t2 = _i16(t2 + _i16(y * b[j + 2, k]))
                    t3 = _i16(t3 + _i16(y * b[j + 3, k]))
                c[i, j] += s0
                c[i, j + 1] += s1
                c[i, j + 2] += s2
                c[i, j + 3] += s3
                c[i + 1, j] += t0
                c[i + 1, j + 1] += t1
                c[i + 1, j + 2] += t2
                c[i + 1, j + 3] += t3


def multiply(memory: U32, card_nonce: bytes, rows: int, columns: int) -> U32:
    """The tiles of C mod 2^16, row by row of tiles: uint32 [tiles, 128], 512 bytes each. memory is D."""
    pages = memory.view(np.int8).reshape(-1, PAGE_BYTES)
    nonces = np.broadcast_to(np.frombuffer(card_nonce, dtype="<u4"), (columns, 8))
    b = columns_at(nonces, np.arange(columns, dtype=np.uint32)).astype(np.int16)
    step, first_page = stride(card_nonce, len(pages))
    order = (step * np.arange(rows, dtype=np.int64) + first_page) % len(pages)
    c = np.zeros((rows, columns), dtype=np.int16)
    for first in range(0, rows, _ROWS_AT_ONCE):
        some = slice(first, first + _ROWS_AT_ONCE)
        _product(pages[order[some]].astype(np.int16), b, c[some])
    tiles = c.reshape(rows // TILE_SIDE, TILE_SIDE, columns // TILE_SIDE, TILE_SIDE).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles).view(np.uint32).reshape(-1, TILE_BYTES // 4)


def tile_digests(tiles: U32) -> U32:
    """The leaves of the product's tree: uint32 [k, 128] -> uint32 [k, 8]."""
    leaves: U32 = digest_words_lanes(TILE, tiles)
    return leaves
