"""Multiply on a card: C = A B over int8 in chunks of rows, tile by tile into leaves.

Pages of D and columns of B hold 4,096 bytes in a row each, so four neighbouring bytes of both are one word, and dp4a,
which every card since Pascal has, adds their four products at once. A block computes 128 x 128 entries: per
16 words of depth it brings 128 rows and 128 columns to shared memory, and each of its 256 threads keeps 8 x 8
sums in registers, so that 16 words read from shared memory serve 64 dp4a. Sums of int32 are exact (at most 2^26).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cuda, int32, int64, uint32
from numba.cuda.extending import intrinsic

from kernels.blake2s import U32
from kernels.cuda import launch
from kernels.cuda.blake2s import COLUMN_INITIAL, LAST, NOT_LAST, TILE_INITIAL, ZERO, compress
from kernels.cuda.kernel import (
    SIMULATED,
    Array,
    DeviceArray,
    Stream,
    Word,
    Words,
    carve,
    device,
    kernel,
    put_words8,
    to_host,
    u32,
    words8,
    words_of,
)
from kernels.protocol import PAGE_BYTES, TILE_BYTES, TILE_SIDE, stride

_SIDE = launch.PRODUCT_SIDE
_DEPTH = 16
"""Words of depth at once: a row's share is 64 bytes, two sectors of the card's memory."""
_PITCH = _SIDE + 1
"""Odd, so that the 16 words of a row go to 16 banks of shared memory."""
_PAGE_WORDS = PAGE_BYTES // 4
_TILE_WORDS = TILE_BYTES // 4


# --- four products at once -----------------------------------------------------------------------------


def _dp4a_in_python(a: np.uint32, b: np.uint32, c: np.int32) -> np.int32:
    """What the instruction computes: c plus the products of the four signed bytes of a and b."""
    x, y, total = int(a), int(b), int(c)
    for shift in (0, 8, 16, 24):
        total += ((x >> shift & 0xFF ^ 0x80) - 0x80) * ((y >> shift & 0xFF ^ 0x80) - 0x80)
    return np.int32(total)


@intrinsic
def _dp4a_on_card(_context: Any, _a: Any, _b: Any, _c: Any) -> tuple[Any, Callable[..., Any]]:
    """The instruction itself, for which Numba has no name."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        takes = ir.FunctionType(word, [word, word, word])
        return builder.asm(takes, "dp4a.s32.s32 $0, $1, $2, $3;", "=r,r,r,r", arguments, side_effect=False)

    return int32(uint32, uint32, int32), emit


_dp4a = _dp4a_in_python if SIMULATED else _dp4a_on_card


# --- kernels -------------------------------------------------------------------------------------------


@kernel("void(UniTuple(uint32, 8), int64, int64, uint32[:,::1])", threads=launch.THREADS)
def columns_of_b(nonce: Words, first: int, count: int, b: Array) -> None:
    """Columns first .. first + count of B as rows of b, uint32 [count, 1024]: a thread a digest."""
    thread = cuda.grid(1)
    if thread >= 128 * count:
        return
    column, counter = thread >> 7, thread & 127
    place = (u32(first + column), u32(counter), ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
    put_words8(b, column, 8 * counter, compress(COLUMN_INITIAL, nonce + place, u32(64), LAST))


@device
def _add_row(sums: Words, a: Word, b: Words) -> Words:
    """Eight sums of one row, with one word of the row and one of each of eight columns."""
    return (
        _dp4a(a, b[0], sums[0]),
        _dp4a(a, b[1], sums[1]),
        _dp4a(a, b[2], sums[2]),
        _dp4a(a, b[3], sums[3]),
        _dp4a(a, b[4], sums[4]),
        _dp4a(a, b[5], sums[5]),
        _dp4a(a, b[6], sums[6]),
        _dp4a(a, b[7], sums[7]),
    )


@device
def _pack(low: Word, high: Word) -> Word:
    """Two entries mod 2^16 as one word."""
    return u32(u32(u32(low) & u32(0xFFFF)) | u32(u32(high) << u32(16)))


@device
def _put_row(tiles: Array, tile: int, word: int, sums: Words) -> None:
    """Eight entries of a tile's row, half of it."""
    tiles[tile, word] = _pack(sums[0], sums[1])
    tiles[tile, word + 1] = _pack(sums[2], sums[3])
    tiles[tile, word + 2] = _pack(sums[4], sums[5])
    tiles[tile, word + 3] = _pack(sums[6], sums[7])


@device
def _eight_of(shared: Array, depth: int, at: int) -> Words:
    """The words of eight rows in a row at one depth: 16 words apart, so that 16 threads read 16 banks."""
    return (
        shared[depth, at],
        shared[depth, at + 16],
        shared[depth, at + 32],
        shared[depth, at + 48],
        shared[depth, at + 64],
        shared[depth, at + 80],
        shared[depth, at + 96],
        shared[depth, at + 112],
    )


@kernel(
    "void(uint32[:,::1], int64, int64, int64, int64, uint32[:,::1], uint32[:,::1])", threads=launch.THREADS
)
def product(pages: Array, a: int, b: int, first_row: int, rows: int, columns: Array, tiles: Array) -> None:
    """Tiles of rows first_row .. first_row + rows of A with some columns of B, mod 2^16, row by row of tiles.

    pages is D, uint32 [pages, 1024]; row r of A is page (a r + b) mod pages; columns uint32 [k, 1024]; tiles
    uint32 [rows / 16 x k / 16, 128]. Rows and columns are multiples of 16; beyond their end the last one is read.
    """
    row_words = cuda.shared.array((_DEPTH, _PITCH), uint32)
    column_words = cuda.shared.array((_DEPTH, _PITCH), uint32)
    page_of_row = cuda.shared.array(_SIDE, int64)
    thread = cuda.threadIdx.x & 255
    high, low = thread >> 4, thread & 15
    top, left = cuda.blockIdx.y * _SIDE, cuda.blockIdx.x * _SIDE
    if thread < _SIDE:
        row = first_row + min(top + thread, rows - 1)
        page_of_row[thread] = (a * row + b) % pages.shape[0]
    none = (int32(0), int32(0), int32(0), int32(0), int32(0), int32(0), int32(0), int32(0))
    s0, s1, s2, s3, s4, s5, s6, s7 = none, none, none, none, none, none, none, none
    row, column = top + 8 * high, left + 8 * low
    is_inside = row < rows and column < columns.shape[0]
    for start in range(0, pages.shape[1], _DEPTH):
        cuda.syncthreads()
        for i in range(8):
            which = high + 16 * i
            at = ((which & 7) << 4) + (which >> 3)
            row_words[low, at] = pages[page_of_row[which], start + low]
            column_words[low, at] = columns[min(left + which, columns.shape[0] - 1), start + low]
        cuda.syncthreads()
        if is_inside:
            for depth in range(_DEPTH):
                x, y = _eight_of(row_words, depth, high), _eight_of(column_words, depth, low)
                s0, s1 = _add_row(s0, x[0], y), _add_row(s1, x[1], y)
                s2, s3 = _add_row(s2, x[2], y), _add_row(s3, x[3], y)
                s4, s5 = _add_row(s4, x[4], y), _add_row(s5, x[5], y)
                s6, s7 = _add_row(s6, x[6], y), _add_row(s7, x[7], y)
    if is_inside:
        tile = (row >> 4) * (columns.shape[0] >> 4) + (column >> 4)
        word = (row & 15) * 8 + ((column & 15) >> 1)
        _put_row(tiles, tile, word, s0)
        _put_row(tiles, tile, word + 8, s1)
        _put_row(tiles, tile, word + 16, s2)
        _put_row(tiles, tile, word + 24, s3)
        _put_row(tiles, tile, word + 32, s4)
        _put_row(tiles, tile, word + 40, s5)
        _put_row(tiles, tile, word + 48, s6)
        _put_row(tiles, tile, word + 56, s7)


@kernel("void(uint32[:,::1], uint32[:,::1])", threads=launch.THREADS)
def tile_leaves(tiles: Array, leaves: Array) -> None:
    """The leaf of each tile, uint32 [k, 128] -> uint32 [k, 8]: a thread a tile, its eight blocks one after another."""
    tile = cuda.grid(1)
    if tile >= tiles.shape[0]:
        return
    h = TILE_INITIAL
    for block in range(8):
        m = words8(tiles, tile, 16 * block) + words8(tiles, tile, 16 * block + 8)
        h = compress(h, m, u32(64 * (block + 1)), LAST if block == 7 else NOT_LAST)
    put_words8(leaves, tile, 0, h)


# --- a card's product ----------------------------------------------------------------------------------


def multiply(
    memory: DeviceArray,
    card_nonce: bytes,
    rows: int,
    columns: int,
    leaves: DeviceArray,
    scratch: DeviceArray,
    stream: Stream,
) -> None:
    """Multiply; the leaves of the product's tiles, leaves uint32 [rows / 16 x columns / 16, 8].

    memory is D, uint32 [n, 32]; scratch is uint32 [words], `launch.multiply_scratch_bytes(rows, columns)` for full speed.
    """
    b = carve(scratch, 0, columns, _PAGE_WORDS)
    columns_of_b.launch(launch.blocks_for(128 * columns), stream, _key(card_nonce), 0, columns, b)
    at_once = launch.rows_at_once(columns, 4 * scratch.shape[0])
    for first in range(0, rows, at_once):
        count = min(at_once, rows - first)
        tiles = carve(scratch, columns * _PAGE_WORDS, _tiles_in(count, columns), _TILE_WORDS)
        _multiply_rows(memory, card_nonce, first, count, b, tiles, stream)
        done = _tiles_in(first, columns)
        some = leaves[done : done + tiles.shape[0]]
        tile_leaves.launch(launch.blocks_for(tiles.shape[0]), stream, tiles, some)


def tiles_at(
    memory: DeviceArray,
    card_nonce: bytes,
    columns: int,
    indices: Sequence[int],
    scratch: DeviceArray,
    stream: Stream,
) -> U32:
    """The tiles at these leaves computed again, uint32 [k, 128]; waits for the stream.

    scratch uint32 [words], `launch.tiles_scratch_bytes(k)` at least.
    """
    b = carve(scratch, 0, TILE_SIDE, _PAGE_WORDS)
    tiles = carve(scratch, TILE_SIDE * _PAGE_WORDS, len(indices), _TILE_WORDS)
    for at, index in enumerate(indices):
        tile_row, tile_column = divmod(index, columns // TILE_SIDE)
        first_column = TILE_SIDE * tile_column
        columns_of_b.launch(
            launch.blocks_for(128 * TILE_SIDE), stream, _key(card_nonce), first_column, TILE_SIDE, b
        )
        _multiply_rows(memory, card_nonce, TILE_SIDE * tile_row, TILE_SIDE, b, tiles[at : at + 1], stream)
    return to_host(tiles, stream)


def _multiply_rows(
    memory: DeviceArray,
    card_nonce: bytes,
    first: int,
    count: int,
    b: DeviceArray,
    tiles: DeviceArray,
    stream: Stream,
) -> None:
    """The tiles of some rows of A with these columns."""
    pages = memory.reshape(memory.shape[0] * memory.shape[1] // _PAGE_WORDS, _PAGE_WORDS)
    step, first_page = stride(card_nonce, pages.shape[0])
    blocks = launch.blocks_for(b.shape[0], _SIDE), launch.blocks_for(count, _SIDE)
    product.launch(blocks, stream, pages, step, first_page, first, count, b, tiles)


def _tiles_in(rows: int, columns: int) -> int:
    """Tiles of so many rows of tiles."""
    return (rows // TILE_SIDE) * (columns // TILE_SIDE)


def _key(card_nonce: bytes) -> Words:
    """The nonce as a kernel's argument."""
    return words_of(np.frombuffer(card_nonce, dtype="<u4"))
