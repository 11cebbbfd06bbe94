import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import fill, merkle, multiply, walk
from tests import naive

SEED, NONCE = naive.H("seed", b"a card"), naive.H("nonce", b"a round")


def words(octets):
    return np.frombuffer(octets, dtype="<u4").copy()


def rows(items):
    return words(b"".join(items)).reshape(len(items), -1)


def noise(lines):
    return np.random.default_rng(lines).integers(0, 1 << 32, (lines, 32), dtype=np.uint32)


def as_lines(memory):
    return [line.tobytes() for line in memory]


@pytest.mark.parametrize(("lines", "w"), [(32, 1), (64, 3), (1056, 1)])
def test_fill(lines, w):
    """D is what the naive formula says, across the borders of lanes and chunks."""

    out = np.empty((lines, 32), dtype=np.uint32)

    fill.fill(words(SEED), lines, w, out)

    assert as_lines(out) == naive.memory(SEED, lines, w)


def test_lines_of_many_cards():
    """Single lines of different cards, far apart, are computed together."""

    seeds = [naive.H("seed", bytes([i])) for i in range(7)]
    indices = np.array([0, 5, 1 << 20, (1 << 32) - 1, 1 << 33, 7, 7], dtype=np.uint64)

    made = fill.lines_at(rows(seeds), indices, 2)

    assert as_lines(made) == [naive.line(s, int(i), 2) for s, i in zip(seeds, indices, strict=True)]


@given(st.integers(0, naive.MASK), st.integers(0, naive.MASK), st.integers(1, 1 << 32))
def test_address(word0, word1, n):
    """The addressed line is the high half of a product of 128 bits, for every size up to 2^32 lines."""

    state = np.array([word0, word1], dtype=np.uint32)

    assert int(walk.address(state, n)) == naive.address([word0, word1], n)


@pytest.mark.parametrize("count", [1, 129])
def test_step_of_many_states(count):
    """A step of many states at once is the naive step of each, and so are the lines that they address."""

    states, lines = noise(count), noise(count)[::-1].copy()
    sizes = np.arange(1, count + 1, dtype=np.uint64) << np.uint64(20)
    wanted_lines = [naive.address(s, n) for s, n in zip(states.tolist(), sizes.tolist(), strict=True)]
    wanted = [naive.step(s, x.tobytes()) for s, x in zip(states.tolist(), lines, strict=True)]

    assert walk.addresses(states, sizes).tolist() == wanted_lines
    walk.step_lanes(states, lines)
    assert states.tolist() == wanted


@pytest.mark.parametrize(("walkers", "segments", "steps"), [(1, 1, 1), (3, 4, 5), (130, 2, 2)])
def test_walk_and_rewalk(walkers, segments, steps):
    """A round's leaves are the naive ones, and walking a walker again finds the states behind any of them."""

    memory = noise(96)
    leaves, states = naive.walk(as_lines(memory), NONCE, 2, walkers, segments, steps)

    assert as_lines(walk.walk(memory, words(NONCE), 2, walkers, segments, steps)) == leaves
    for index in {0, len(leaves) // 2, len(leaves) - 1}:
        walker, segment = divmod(index, segments)
        before, after = walk.rewalk(memory, words(NONCE), 2, walker, segment, steps)
        assert after.tobytes() == states[index]
        assert (before is None) == (segment == 0)
        assert before is None or before.tobytes() == states[index - 1]


@pytest.mark.parametrize("count", [1, 2, 3, 8, 33, 200])
@pytest.mark.parametrize(("use", "name"), [(merkle.WALKNODE, "walknode"), (merkle.TILENODE, "tilenode")])
def test_tree(use, name, count):
    """Root and every path are those of the padded tree, and each path leads its own leaf to the root alone."""

    leaves = [naive.H("state", bytes([i])) for i in range(count)]
    truth = naive.tree(name, leaves)
    built = merkle.levels(use, rows(leaves))
    paths = [merkle.path(use, built, i) for i in range(count)]

    assert merkle.root(use, rows(leaves)) == truth[-1][0]
    assert paths == [naive.path(truth, i) for i in range(count)]
    found = roots(use, leaves, range(count), paths)
    assert found == [truth[-1][0]] * count
    if count > 1:
        shifted = roots(use, leaves, [i ^ 1 for i in range(count)], paths)
        assert truth[-1][0] not in shifted


def roots(use, leaves, indices, paths):
    octets = [
        np.frombuffer(b"".join(part), dtype=np.uint8).reshape(len(leaves), -1) for part in (leaves, paths)
    ]
    at = np.array(list(indices), dtype=np.uint64)
    return as_lines(merkle.root_from_paths(use, octets[0], at, octets[1].reshape(len(leaves), -1, 32)))


@pytest.mark.parametrize(("pages", "rows_", "columns"), [(16, 16, 16), (40, 32, 48)])
def test_product(pages, rows_, columns):
    """Tiles are those of the naive product, and so are their leaves and any column by itself."""

    memory = noise(32 * pages)
    wanted = naive.tiles(as_lines(memory), NONCE, rows_, columns)

    made = multiply.multiply(memory, NONCE, rows_, columns)

    assert as_lines(made) == wanted
    assert as_lines(multiply.tile_digests(made)) == [naive.H("tile", t) for t in wanted]
    alone = multiply.columns_at(words(NONCE)[None], np.array([7], dtype=np.uint32))[0]
    assert alone.tolist() == naive.column(NONCE, 7)


def test_product_of_extremes():
    """Sums that leave 16 bits wrap to the very bits of 32-bit sums, whose extreme is 4096 x 128 x 128 = 2^26."""

    memory = np.full((512, 32), 0x80808080, dtype=np.uint32)

    assert as_lines(multiply.multiply(memory, NONCE, 16, 16)) == naive.tiles(as_lines(memory), NONCE, 16, 16)


def test_many_rows():
    """Rows beyond one block are blocks of their own: row r is the page that its order says."""

    memory = noise(32 * 300)
    made = multiply.multiply(memory, NONCE, 288, 16)

    a, b = naive.stride(NONCE, 300)
    pages = memory.view(np.int8).reshape(300, 4096)
    columns = multiply.columns_at(np.tile(words(NONCE), (16, 1)), np.arange(16, dtype=np.uint32))
    c = pages[(a * np.arange(288) + b) % 300].astype(np.int32) @ columns.astype(np.int32).T
    assert made.tobytes() == (c & 0xFFFF).astype("<u2").tobytes()
