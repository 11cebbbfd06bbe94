"""The checks of a verdict, each over all cards that are judged together, in the order in which they are made.

Each is given the cards that still stand and tells those that fall, with what was got and what was wanted. Arithmetic
goes in lanes over all of them: a card by itself would cost five times as much.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from kernels.blake2s import U32
from kernels.merkle import TILENODE, WALKNODE, root_from_paths
from kernels.multiply import tile_digests
from kernels.protocol import DIGEST_BYTES, depth_of
from kernels.replay import product_entries, replay_segments
from kernels.walk import leaf_digests, start_digests
from tasks.proof.messages import STATE_BYTES
from tasks.proof.opening import PlacedCard, PlacedSegment, PlacedTile

Place = TypeVar("Place", PlacedSegment, PlacedTile)


@dataclass(frozen=True, slots=True)
class Finding:
    """The first thing about a card that did not hold."""

    code: str
    got: str
    wanted: str


Found = Iterator[tuple[int, Finding]]
"""Card numbers and what was found about them; a card may come more than once."""
Check = Callable[[Sequence[PlacedCard]], Found]


def findings(cards: Sequence[PlacedCard]) -> dict[int, Finding]:
    """The first finding of each card that has one, by the card's number."""
    found: dict[int, Finding] = {}
    for check in CHECKS:
        standing = [c for c in cards if c.number not in found]
        for number, finding in check(standing):
            found.setdefault(number, finding)
    return found


def walk_shape(cards: Sequence[PlacedCard]) -> Found:
    """A state before exactly where there is one, and paths as deep as V's own tree."""
    for card in cards:
        for s in card.segments:
            if (s.opening.before is None) != (s.segment == 0):
                got = "no state before it" if s.opening.before is None else "a state before it"
                yield (
                    card.number,
                    _wrong("WALK_PATH_WRONG", s, got, "one, unless the segment is a walker's first"),
                )
            for path in (s.opening.before_path, s.opening.after_path):
                if path is not None:
                    yield from _not_as_deep(
                        card, "WALK_PATH_WRONG", s, path, depth_of(card.parameters.leaves)
                    )


def walk_paths(cards: Sequence[PlacedCard]) -> Found:
    """Both states of each segment lead to the root that was sent before anybody knew the place."""
    states = [state for card in cards for s in card.segments for state in _states(card, s)]
    for alike in _by_depth(states):
        leaves = leaf_digests(
            _words([state.content for state in alike]),
            np.array([state.place.round for state in alike], dtype=np.uint32),
            np.array([state.place.walker for state in alike], dtype=np.uint64),
            np.array([state.segment for state in alike], dtype=np.uint64),
        )
        yield from _broken("WALK_PATH_WRONG", WALKNODE, alike, leaves)


def walk_states(cards: Sequence[PlacedCard]) -> Found:
    """Walking the segment again, every line made from the seed, ends in the state that was opened."""
    for group in _alike(cards):
        walks = [(card, s) for card in group for s in card.segments]
        for (card, s), state in zip(walks, _replayed(walks), strict=True):
            if s.opening.after != state:
                got, right = s.opening.after[:8].hex(), state[:8].hex()
                yield card.number, _wrong("WALK_STATE_WRONG", s, f"last state {got}..", f"{right}..")


def tile_shape(cards: Sequence[PlacedCard]) -> Found:
    """Paths as deep as V's own tree of the product."""
    for card in cards:
        for t in card.tiles:
            yield from _not_as_deep(
                card, "TILE_PATH_WRONG", t, t.opening.path, depth_of(card.parameters.tile_count)
            )


def tile_paths(cards: Sequence[PlacedCard]) -> Found:
    """Each tile leads to the product's root."""
    tiles = [_Leaf(c, t, 0, t.leaf, t.opening.tile, t.opening.path) for c in cards for t in c.tiles]
    for alike in _by_depth(tiles):
        leaves = tile_digests(_words([tile.content for tile in alike]))
        yield from _broken("TILE_PATH_WRONG", TILENODE, alike, leaves)


def tile_entries(cards: Sequence[PlacedCard]) -> Found:
    """One entry of each tile is the product of its page and its column, made from the seed and the nonce."""
    for group in _alike(cards):
        tiles = [(card, t) for card in group for t in card.tiles]
        wanted = product_entries(
            _words([card.seed for card, _ in tiles]),
            _words([card.product_nonce for card, _ in tiles]),
            np.array([t.page for _, t in tiles], dtype=np.uint64),
            np.array([t.column for _, t in tiles], dtype=np.uint32),
            group[0].parameters.chain_w,
        )
        for (card, t), entry in zip(tiles, wanted, strict=True):
            (got,) = struct.unpack_from("<H", t.opening.tile, 2 * t.entry)
            if got != entry:
                yield card.number, _wrong("TILE_ENTRY_WRONG", t, str(got), str(entry))


CHECKS: tuple[Check, ...] = (walk_shape, walk_paths, walk_states, tile_shape, tile_paths, tile_entries)


# --- side by side ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Leaf(Generic[Place]):
    card: PlacedCard
    place: Place
    segment: int
    """Of the state, which may be the one before the place's own."""
    index: int
    content: bytes
    path: bytes


def _states(card: PlacedCard, s: PlacedSegment) -> Iterator[_Leaf[PlacedSegment]]:
    yield _Leaf(card, s, s.segment, s.leaf, s.opening.after, s.opening.after_path)
    if s.opening.before is not None and s.opening.before_path is not None:
        yield _Leaf(card, s, s.segment - 1, s.leaf - 1, s.opening.before, s.opening.before_path)


def _by_depth(leaves: Sequence[_Leaf[Place]]) -> list[list[_Leaf[Place]]]:
    """Leaves whose paths can share lanes."""
    groups: defaultdict[int, list[_Leaf[Place]]] = defaultdict(list)
    for leaf in leaves:
        groups[len(leaf.path)].append(leaf)
    return list(groups.values())


def _broken(code: str, node: int, alike: Sequence[_Leaf[Place]], leaves: U32) -> Found:
    """Whoever's path does not lead to the promised root."""
    depth = len(alike[0].path) // DIGEST_BYTES
    indices = np.array([leaf.index for leaf in alike], dtype=np.uint64)
    paths = np.frombuffer(bytearray().join(leaf.path for leaf in alike), dtype=np.uint8)
    roots = root_from_paths(
        node, leaves.view(np.uint8), indices, paths.reshape(len(alike), depth, DIGEST_BYTES)
    )
    for leaf, root in zip(alike, roots, strict=True):
        if root.tobytes() != leaf.place.root:
            got, wanted = root.tobytes()[:8].hex(), leaf.place.root[:8].hex()
            yield leaf.card.number, _wrong(code, leaf.place, f"a path to {got}..", f"the root {wanted}..")


def _replayed(walks: Sequence[tuple[PlacedCard, PlacedSegment]]) -> list[bytes]:
    """The last states of these segments, of cards that are alike."""
    p = walks[0][0].parameters
    starts = start_digests(
        _words([s.nonce for _, s in walks]),
        np.array([s.round for _, s in walks], dtype=np.uint32),
        np.array([s.walker for _, s in walks], dtype=np.uint64),
        np.array([s.segment for _, s in walks], dtype=np.uint64),
    )
    states = replay_segments(
        starts ^ _words([s.opening.before or bytes(STATE_BYTES) for _, s in walks]),
        _words([card.seed for card, _ in walks]),
        np.array([card.parameters.lines for card, _ in walks], dtype=np.uint64),
        p.chain_w,
        p.segment_steps,
    )
    return [state.tobytes() for state in states]


def _alike(cards: Sequence[PlacedCard]) -> list[list[PlacedCard]]:
    """Cards that can share lanes: the same chain and the same number of steps."""
    groups: defaultdict[tuple[int, int], list[PlacedCard]] = defaultdict(list)
    for card in cards:
        groups[card.parameters.chain_w, card.parameters.segment_steps].append(card)
    return list(groups.values())


def _words(rows: Sequence[bytes]) -> U32:
    """Octets of one length as words: uint32 [rows, length / 4], writable as the kernels' signatures want it."""
    return np.frombuffer(bytearray().join(rows), dtype=np.uint32).reshape(len(rows), -1)


def _not_as_deep(card: PlacedCard, code: str, place: object, path: bytes, depth: int) -> Found:
    if len(path) != depth * DIGEST_BYTES:
        yield card.number, _wrong(code, place, f"a path of {len(path) // DIGEST_BYTES}", f"a path of {depth}")


def _wrong(code: str, place: object, got: str, wanted: str) -> Finding:
    return Finding(code, f"{place}: {got}", wanted)
