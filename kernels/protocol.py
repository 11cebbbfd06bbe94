"""The arithmetic and the limits of the GPU proof that need no array; `docs/gpu-proof.md` is its text.

Shared by the validator and the prover. Imports neither NumPy nor Numba, so that a command line starts fast.
Parameters may come from a stranger: `BadMessage` says what does not fit.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

USES = (
    b"seed",
    b"fill",
    b"nonce",
    b"start",
    b"state",
    b"column",
    b"stride",
    b"tile",
    b"walknode",
    b"tilenode",
    b"open",
    b"place",
    b"commit",
)
"""Every `person` of BLAKE2s in the protocol."""

DIGEST_BYTES = 32
LINE_BYTES = 128
PAGE_LINES = 32
PAGE_BYTES = LINE_BYTES * PAGE_LINES
TILE_SIDE = 16
TILE_BYTES = 2 * TILE_SIDE * TILE_SIDE

CPU_MEMORY_BYTES = 16 << 30
CPU_HOST_BYTES = 1 << 30
"""What the CPU form may use beside D: leaves, tiles and columns."""


class BadMessage(ValueError):
    """A message or a parameter does not fit the protocol; the text says which and why."""


# --- parameters --------------------------------------------------------------------------------------

RANGES = {
    "lines": (PAGE_LINES, 1 << 32),
    "chain_w": (1, 1024),
    "rounds": (1, 8),
    "walkers": (1, 1 << 20),
    "segments": (1, 1 << 20),
    "segment_steps": (1, 1 << 20),
    "rows": (TILE_SIDE, 1 << 24),
    "columns": (TILE_SIDE, 1 << 13),
    "tiles": (1, 16),
}
_MAX_LEAVES = 1 << 28
_MAX_STEPS = 1 << 40
_MAX_PRODUCT = 1 << 34


@dataclass(frozen=True)
class Parameters:
    """The sizes of one proof, fixed by the validator before GO; raises BadMessage where one does not fit."""

    lines: int
    """n: lines of 128 bytes of D, whole pages of 32."""
    chain_w: int
    """w: chained compressions for each 32 bytes of D."""
    rounds: int
    walkers: int
    """W."""
    segments: int
    """S, of each walker in a round."""
    segment_steps: int
    """T."""
    rows: int
    columns: int
    tiles: int
    """Tiles opened."""

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            check_integer(name, getattr(self, name), low, high)
        for name, unit in (("lines", PAGE_LINES), ("rows", TILE_SIDE), ("columns", TILE_SIDE)):
            if getattr(self, name) % unit:
                raise BadMessage(f"{name} is {getattr(self, name)}, expected a multiple of {unit}")
        check_integer("rows", self.rows, TILE_SIDE, self.pages)
        check_integer("walkers x segments", self.leaves, 1, _MAX_LEAVES)
        check_integer("walkers x segments x segment_steps", self.leaves * self.segment_steps, 1, _MAX_STEPS)
        check_integer("rows x columns", self.rows * self.columns, 1, _MAX_PRODUCT)

    def check_cpu(self) -> None:
        """Refuse what the CPU form can't carry; raises BadMessage."""
        check_integer("memory of the CPU form", self.memory_bytes, 1, CPU_MEMORY_BYTES)
        check_integer("host memory of the CPU form", self.host_bytes, 1, CPU_HOST_BYTES)

    @property
    def memory_bytes(self) -> int:
        """|D|."""
        return self.lines * LINE_BYTES

    @property
    def pages(self) -> int:
        """Pages of 4,096 bytes of D."""
        return self.lines // PAGE_LINES

    @property
    def leaves(self) -> int:
        """Leaves of a round's tree."""
        return self.walkers * self.segments

    @property
    def tile_count(self) -> int:
        """Leaves of the product's tree."""
        return (self.rows // TILE_SIDE) * (self.columns // TILE_SIDE)

    @property
    def host_bytes(self) -> int:
        """Memory beside D: the leaves of all rounds, the product's tiles and the columns of B."""
        leaves = (self.rounds * self.leaves + self.tile_count) * DIGEST_BYTES
        return leaves + 2 * self.rows * self.columns + 3 * PAGE_BYTES * self.columns


def depth_of(count: int) -> int:
    """The least depth of a tree whose width holds `count` leaves."""
    return (count - 1).bit_length()


def check_integer(name: str, value: object, low: int, high: int) -> None:
    """Refuse what is no integer (a bool is none) or out of its range."""
    if type(value) is not int or not low <= value <= high:
        raise BadMessage(f"{name} is {value!r:.80}, expected an integer from {low} to {high}")


# --- hashes ------------------------------------------------------------------------------------------


def digest(use: bytes, message: bytes) -> bytes:
    """H(use, message): BLAKE2s-256 with the use as person."""
    return hashlib.blake2s(message, person=use).digest()


def seed(  # noqa: PLR0917  the order in which they are hashed
    netuid: int,
    block: int,
    block_hash: str,
    validator_hotkey: str,
    miner_hotkey: str,
    executor_id: str,
    card_uuid: str,
    card_index: int,
    card_count: int,
    attempt: int,
    fresh: bytes,
) -> bytes:
    """The card's seed: every field as u32 length and bytes, integers as u64, texts as UTF-8; fresh is 32 bytes."""
    origin = (netuid, block, block_hash, validator_hotkey, miner_hotkey, executor_id)
    card = (card_uuid, card_index, card_count, attempt, fresh)
    return digest(b"seed", b"".join(_prefixed(value) for value in (*origin, *card)))


def _prefixed(value: int | str | bytes) -> bytes:
    """One field of a seed."""
    if isinstance(value, int):
        value = struct.pack("<Q", value)
    elif isinstance(value, str):
        value = value.encode()
    return struct.pack("<I", len(value)) + value


def commitment(secret: bytes) -> bytes:
    """The promise of the secret in GO."""
    return digest(b"commit", secret + bytes(32))


def card_nonce(nonce: bytes, card_seed: bytes) -> bytes:
    """The card's own nonce of a round or of the product."""
    return digest(b"nonce", nonce + card_seed)


def open_digest(card_seed: bytes, round_roots: Sequence[bytes], product_root: bytes) -> bytes:
    """What the places of one card hang on: its seed and everything that it has committed to."""
    message = card_seed + b"".join(round_roots) + product_root
    return digest(b"open", message + bytes(-len(message) % 64))


@dataclass(frozen=True)
class Place:
    """One draw of what must be opened."""

    drawn: bytes
    """The 32 bytes of H(place, ...)."""

    def index(self, count: int) -> int:
        """A leaf's index below count."""
        return (int.from_bytes(self.drawn[:8], "little") * count) >> 64

    @property
    def entry(self) -> int:
        """For a tile, the entry that the validator recomputes: 0..255, row by row."""
        return self.drawn[8]


def place(secret: bytes, opened: bytes, j: int) -> Place:
    """Place j of a card, from the revealed secret and the card's `open` digest: first the rounds, then the tiles."""
    return Place(digest(b"place", secret + opened + struct.pack("<Q", j) + bytes(56)))


def stride(nonce: bytes, pages: int) -> tuple[int, int]:
    """The order of A's rows from the card's product nonce: (a, b), a coprime to the number of pages."""
    h = digest(b"stride", nonce + bytes(32))
    a, b = int.from_bytes(h[:8], "little") % pages, int.from_bytes(h[8:16], "little") % pages
    while gcd(a, pages) != 1:
        a = a + 1 if a + 1 < pages else 1
    return a, b


def row_page(nonce: bytes, row: int, pages: int) -> int:
    """The page of D that is this row of A."""
    a, b = stride(nonce, pages)
    return (a * row + b) % pages
