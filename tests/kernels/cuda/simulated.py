"""What runs under Numba's CUDA simulator: `NUMBA_ENABLE_CUDASIM=1 python -m tests.kernels.cuda.simulated [long]`.

The simulator is chosen when Numba is imported, so this is a process of its own. Prints one JSON object: of each case
what went wrong, an empty text for nothing.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import traceback
import warnings

import numpy as np

from kernels import fill as cpu_fill
from kernels import merkle as cpu_merkle
from kernels import multiply as cpu_multiply
from kernels import walk as cpu_walk
from kernels.protocol import USES
from tests import naive

SEED, NONCE = naive.H("seed", b"a card"), naive.H("nonce", b"a round")
FILLS = {"one page": (32, 1), "no power of two": (96, 3)}
WALKS = {
    # lines, walkers, segments, steps, keep
    "one of everything": (96, 1, 1, 1, 0),
    "a warp and one walker": (160, 33, 2, 2, 1),
    "whole warps": (32, 64, 1, 1, 0),
    "half a warp": (96, 16, 4, 2, 2),
    "nodes of eight": (1056, 5, 8, 3, 3),
    "two launches without nodes": (96, 1, 17, 1, 0),
    "two launches with nodes": (96, 3, 18, 1, 1),
}
TREES = {"leaves": (0,), "nodes of eight leaves": (3,)}
PRODUCTS = {
    # pages, words of depth, first row, rows, columns
    "one tile": (16, 64, 0, 16, 16),
    "rows from the middle": (40, 32, 16, 16, 48),
    "more than one block": (300, 16, 0, 144, 144),
}


def words(octets):
    return np.frombuffer(octets, dtype="<u4").copy()


def noise(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 1 << 32, shape, dtype=np.uint32)


def same(ours, wanted):
    assert ours.shape == wanted.shape, f"{ours.shape}, wanted {wanted.shape}"
    assert ours.tobytes() == wanted.tobytes(), f"first at {np.argwhere(ours != wanted)[0]}"


def on_card(array):
    from numba import cuda

    return cuda.to_device(array)


def scratch_of(size_bytes):
    """Scratch of exactly this size, full of rubbish."""
    return on_card(noise(size_bytes // 4))


def stream():
    from numba import cuda

    return cuda.stream()


# --- cases ---------------------------------------------------------------------------------------------


def digests():
    """The device's compression, chained over messages of every length, is hashlib's digest for every use."""
    from kernels.cuda.blake2s import LAST, NOT_LAST, compress, initial

    for use, person in enumerate(USES):
        for blocks in (1, 2, 3, 8):
            message = noise(16 * blocks + use)[: 16 * blocks]
            h = initial(use)
            for b in range(blocks):
                m = tuple(message[16 * b : 16 * b + 16])
                h = compress(h, m, np.uint32(64 * (b + 1)), LAST if b == blocks - 1 else NOT_LAST)
            wanted = hashlib.blake2s(message.tobytes(), person=person).digest()
            same(np.array(h, dtype=np.uint32), words(wanted))


def filled(lines, w):
    """D of the simulated card is the CPU's."""
    from kernels.cuda.fill import fill

    memory, wanted = on_card(noise(lines, 32)), np.empty((lines, 32), dtype=np.uint32)
    fill(words(SEED), w, memory, stream())
    cpu_fill.fill(words(SEED), lines, w, wanted)
    same(memory.copy_to_host(), wanted)


def lines_from_the_middle():
    """A launch fills its own lines and touches no other."""
    from kernels.cuda.fill import fill_lines
    from kernels.cuda.kernel import words_of

    memory = on_card(np.zeros((96, 32), dtype=np.uint32))
    wanted = np.zeros((96, 32), dtype=np.uint32)
    indices = np.arange(40, 75, dtype=np.uint64)
    wanted[40:75] = cpu_fill.lines_at(np.tile(words(SEED), (35, 1)), indices, 1)
    fill_lines.launch(1, stream(), words_of(words(SEED)), 40, 35, 1, memory)
    same(memory.copy_to_host(), wanted)


def walked(lines, walkers, segments, steps, keep):
    """Nodes, root, and states and whole paths of opened segments are the CPU's."""
    from kernels.cuda import launch, merkle
    from kernels.cuda.walk import rewalk, walk

    memory, nonce, leaves = noise(lines, 32), words(NONCE), walkers * segments
    tree = cpu_merkle.levels(cpu_merkle.WALKNODE, cpu_walk.walk(memory, nonce, 2, walkers, segments, steps))
    card = on_card(memory)
    out = on_card(noise(leaves >> keep, 8))
    scratch = scratch_of(launch.walk_scratch_bytes(walkers, keep))
    walk(card, nonce, 2, walkers, segments, steps, keep, out, scratch, stream())
    same(out.copy_to_host(), tree[keep])

    upper = scratch_of(launch.tree_scratch_bytes(leaves >> keep))
    assert merkle.root(merkle.WALKNODE, out, keep, upper, stream()) == tree[-1].tobytes()
    room = scratch_of(launch.rewalk_scratch_bytes(keep))
    for leaf in sorted({leaves // 2, leaves - 1}):
        walker, segment = divmod(leaf, segments)
        stretch = rewalk(card, nonce, 2, walker, segment, steps, keep, room, stream())
        before, after = cpu_walk.rewalk(memory, nonce, 2, walker, segment, steps)
        same(stretch.after(segment), after)
        opened = [leaf]
        if before is not None:
            same(stretch.after(segment - 1), before)
            opened.append(leaf - 1)
        for index in opened:
            above = merkle.path(merkle.WALKNODE, out, keep, index >> keep, upper, stream())
            path = stretch.lower_path(index % segments) + above
            assert path == cpu_merkle.path(cpu_merkle.WALKNODE, tree, index)


def tree(height):
    """Roots and paths are the CPU's, for every index of trees of several sizes, full and ragged."""
    from kernels.cuda import launch, merkle

    for use in (cpu_merkle.WALKNODE, cpu_merkle.TILENODE):
        for count in (1, 2, 3, 6):
            leaves = noise(count << height, 8)
            truth = cpu_merkle.levels(use, leaves)
            nodes = on_card(truth[height])
            scratch = scratch_of(launch.tree_scratch_bytes(count))
            assert merkle.root(use, nodes, height, scratch, stream()) == truth[-1].tobytes()
            for index in {0, count // 2, count - 1}:
                whole = cpu_merkle.path(use, truth, index << height)
                above = merkle.path(use, nodes, height, index, scratch, stream())
                assert above == whole[32 * height :], f"{count} nodes, {index}"


def entries(pages, order, first_row, rows, columns):
    """Launch the product over pages and columns of any depth, uint32 [k, words], and compare its tiles with NumPy's."""
    from kernels.cuda import launch
    from kernels.cuda.multiply import product

    (a, b), count = order, len(columns)
    tiles = on_card(noise(rows * count // 256, 128))
    blocks = (launch.blocks_for(count, launch.PRODUCT_SIDE), launch.blocks_for(rows, launch.PRODUCT_SIDE))
    product.launch(blocks, stream(), on_card(pages), a, b, first_row, rows, on_card(columns), tiles)
    which = (a * np.arange(first_row, first_row + rows) + b) % len(pages)
    c = pages.view(np.int8)[which].astype(np.int32) @ columns.view(np.int8).T.astype(np.int32)
    wanted = (c & 0xFFFF).astype("<u2").reshape(rows // 16, 16, count // 16, 16).transpose(0, 2, 1, 3)
    same(tiles.copy_to_host(), np.ascontiguousarray(wanted).reshape(-1, 256).view(np.uint32))


def multiplied(pages, depth, first_row, rows, columns):
    """The product of rows in their order with columns, in tiles, is NumPy's."""
    entries(noise(pages, depth), (7, 5), first_row, rows, noise(columns, depth))


def extreme_sums():
    """The largest product of all, 128 x 128 everywhere, beside products of both signs."""
    extremes = np.full((16, 32), 0x80808080, dtype=np.uint32)
    mixed = np.full((16, 32), 0x7F807F80, dtype=np.uint32)
    entries(np.concatenate([extremes, mixed]), (1, 0), 0, 32, extremes)


def product_in_chunks():
    """Whole pages and real columns, with room for 16 of 32 rows at once: the CPU's leaves, and a tile again."""
    from kernels.cuda import launch
    from kernels.cuda.multiply import multiply, tiles_at

    memory = noise(32 * 40, 32)
    wanted = cpu_multiply.multiply(memory, NONCE, 32, 16)
    card, leaves = on_card(memory), on_card(noise(2, 8))
    scratch = scratch_of(launch.multiply_scratch_bytes(16, 16))
    multiply(card, NONCE, 32, 16, leaves, scratch, stream())
    same(leaves.copy_to_host(), cpu_multiply.tile_digests(wanted))
    room = scratch_of(launch.tiles_scratch_bytes(1))
    same(tiles_at(card, NONCE, 16, [1], room, stream()), wanted[[1]])


# --- all of them ---------------------------------------------------------------------------------------


SINGLE = {
    "digests": digests,
    "lines from the middle": lines_from_the_middle,
    "extreme sums": extreme_sums,
}
LONG = {"product in chunks": product_in_chunks}
"""Half a minute and more."""
TABLES = {
    "fill": (filled, FILLS),
    "walk": (walked, WALKS),
    "tree": (tree, TREES),
    "product": (multiplied, PRODUCTS),
}
CASES = (*SINGLE, *(f"{kind}: {name}" for kind, (_, table) in TABLES.items() for name in table))


def run(case):
    """Run one of `CASES` or `LONG`."""
    kind, _, name = case.partition(": ")
    if case in SINGLE | LONG:
        (SINGLE | LONG)[case]()
    else:
        check, table = TABLES[kind]
        check(*table[name])


def main(cases):
    """Run them and print what went wrong in which."""
    warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's scalars warn of what wraps
    found = dict.fromkeys(cases, "")
    for case in found:
        started = time.process_time()
        try:
            run(case)
        except Exception:  # noqa: BLE001  told to the test that asks for this case
            found[case] = traceback.format_exc()
        sys.stderr.write(f"{case}: {time.process_time() - started:.1f} s\n")
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(LONG if sys.argv[1:] == ["long"] else CASES)
