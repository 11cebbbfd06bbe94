import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import protocol
from kernels.protocol import BadMessage, Parameters
from tests import naive

SIZES = {
    "lines": 512,
    "chain_w": 1,
    "rounds": 4,
    "walkers": 3,
    "segments": 2,
    "segment_steps": 5,
    "rows": 16,
    "columns": 32,
    "tiles": 8,
}


def test_seed_binds_every_field():
    """The seed is the naive one, and another value of any field is another seed."""

    fields = [7, 123_456, "0x" + "ab" * 32, "5Val", "5Min", "box-1", "GPU-ü", 0, 8, 1, bytes(range(32))]
    others = [8, 1, "0x", "5Va", "5V", "box", "GPU", 1, 9, 2, bytes(32)]

    assert protocol.seed(*fields) == naive.seed(*fields)
    changed = {protocol.seed(*fields[:i], other, *fields[i + 1 :]) for i, other in enumerate(others)}
    assert len(changed | {protocol.seed(*fields)}) == len(fields) + 1


def test_seed_prefixes_lengths():
    """Moving a character from one text to the next is another seed."""

    rest = ["x", "GPU-1", 0, 1, 1, bytes(32)]

    assert protocol.seed(1, 2, "h", "ab", "c", *rest) != protocol.seed(1, 2, "h", "a", "bc", *rest)


def test_small_digests():
    """Commitment, card's nonce, open digest and place are the document's messages."""

    a, b, roots = bytes(range(32)), bytes(range(32, 64)), [bytes([i]) * 32 for i in range(5)]

    assert protocol.commitment(a) == naive.H("commit", a + bytes(32))
    assert protocol.card_nonce(a, b) == naive.H("nonce", a + b)
    assert protocol.open_digest(a, roots[:4], roots[4]) == naive.H("open", a + b"".join(roots))
    assert protocol.open_digest(a, roots[:3], roots[4]) == naive.H(
        "open", a + b"".join(roots[:3]) + roots[4] + bytes(32)
    )
    assert protocol.place(a, b, 300).drawn == naive.place(a, b, 300)
    assert protocol.place(a, b, 3).entry == naive.place(a, b, 3)[8]


@given(st.binary(min_size=32, max_size=32), st.integers(1, 1 << 28))
def test_index_is_below_its_count(drawn, count):
    """A place's index is the high half of a product, so it is always below the count."""

    index = protocol.Place(drawn).index(count)

    assert index == naive.below(count, drawn)
    assert 0 <= index < count


@given(st.binary(min_size=32, max_size=32), st.integers(1, 3000))
def test_stride_is_a_permutation(nonce, pages):
    """The order of rows visits every page once before any twice."""

    assert protocol.stride(nonce, pages) == naive.stride(nonce, pages)
    assert {protocol.row_page(nonce, r, pages) for r in range(pages)} == set(range(pages))


@pytest.mark.parametrize(
    ("count", "depth"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1 << 20, 20), ((1 << 20) + 1, 21)]
)
def test_depth(count, depth):
    """The depth is the least whose width holds all leaves."""

    assert protocol.depth_of(count) == depth


def test_parameters_derive_sizes():
    """What the trees and buffers need follows from the parameters."""

    p = Parameters(**SIZES)

    assert (p.memory_bytes, p.pages, p.leaves, p.tile_count) == (65_536, 16, 6, 2)
    assert p.host_bytes == (4 * 6 + 2) * 32 + 2 * 16 * 32 + 3 * 4096 * 32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lines", 0),
        ("lines", 33),
        ("lines", (1 << 32) + 32),
        ("lines", 512.0),
        ("lines", True),
        ("lines", "512"),
        ("chain_w", 0),
        ("chain_w", 1 << 64),
        ("rounds", -1),
        ("rounds", 9),
        ("walkers", 1 << 21),
        ("segments", 1 << 21),
        ("segment_steps", 0),
        ("rows", 24),
        ("rows", 32),
        ("columns", 8),
        ("columns", 1 << 14),
        ("tiles", 17),
    ],
)
def test_parameters_out_of_range(name, value):
    """A parameter of another type, beyond its range, or of a broken multiple is refused by its name."""

    with pytest.raises(BadMessage, match=name):
        Parameters(**{**SIZES, name: value})


def test_parameters_too_large_together():
    """Numbers that are each in range can't ask for endless leaves, steps or memory of the CPU form."""

    with pytest.raises(BadMessage, match="walkers x segments"):
        Parameters(**{**SIZES, "walkers": 1 << 20, "segments": 1 << 20})
    with pytest.raises(BadMessage, match="segment_steps"):
        Parameters(**{**SIZES, "walkers": 1 << 20, "segments": 4, "segment_steps": 1 << 20})
    with pytest.raises(BadMessage, match="memory of the CPU form"):
        Parameters(**{**SIZES, "lines": 1 << 32}).check_cpu()
    with pytest.raises(BadMessage, match="host memory"):
        Parameters(**{**SIZES, "walkers": 1 << 20, "segments": 8}).check_cpu()


def test_real_sizes_are_allowed():
    """The parameters of an 80 GB card and of one with 288 GB at 8 TB/s are in range."""

    Parameters(
        **{
            **SIZES,
            "lines": 624_951_296,
            "walkers": 65_536,
            "segments": 75,
            "segment_steps": 128,
            "rows": 610_304,
            "columns": 1024,
        }
    )
    Parameters(
        **{
            **SIZES,
            "lines": 2_250_000_000 // 32 * 32,
            "walkers": 131_072,
            "segments": 1400,
            "segment_steps": 128,
            "rows": 2_197_264,
            "columns": 1024,
        }
    )


@pytest.mark.parametrize(
    ("module", "allowed"),
    [("kernels.protocol", set()), ("kernels.messages", set()), ("kernels.cards", {"numpy"})],
)
def test_starts_without_numba(module, allowed):
    """Whoever only builds messages, or adds a simulated card, does not pay for Numba."""

    code = f"import sys, {module}; print(*({{'numpy', 'numba'}} & set(sys.modules)))"
    root = Path(__file__).parents[2]

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert set(out.stdout.split()) == allowed
