"""Transcripts of full-size cards, made from single lines: no card and no memory of its size is needed.

The trees of such a card have up to 2^27 leaves. Here only the opened leaves exist; every sibling on their way up
that is no opened leaf's ancestor is random. So the places can't be drawn from the roots: they are chosen
first, and `verify_shard` is given a rule that draws the real ones too (to pay for it) and returns the chosen.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernels.messages import OpenedCard, OpenedSegment, OpenedTile
from kernels.protocol import depth_of
from kernels.replay import product_entries, replay_segments
from tasks.policy import DEFAULT
from tasks.proof.challenge import Challenge, Origin, challenge_for
from tasks.proof.conversation import Exchange, Reply
from tasks.proof.opening import PlacedCard, Places, TilePlace, drawn_places, placed_card


@dataclass(frozen=True)
class BenchModel:
    memory_bytes: int
    bandwidth_gb_s: float


@dataclass(frozen=True)
class FullSize:
    """A shard of full-size cards, one a machine, and the places that were chosen for each."""

    shard: list[tuple[Challenge, Reply]]
    chosen: dict[bytes, Places]
    """By the machine's secret."""

    def places(self, challenge: Challenge, reply: Reply, at: int) -> Places:
        """The rule for `verify_shard`: draws as the protocol does, and returns what was chosen."""
        drawn_places(challenge, reply, at)
        return self.chosen[challenge.secret]


def full_size_shard(memory_gb: int, bandwidth_gb_s: float, cards: int, seed: int = 0) -> FullSize:
    """Honest conversations of so many cards of this size, under the policy of a real network."""
    rng = random.Random(seed)
    shard: list[tuple[Challenge, Reply]] = []
    chosen: dict[bytes, Places] = {}
    for number in range(cards):
        origin = Origin(51, 1_000, "0x" + "ab" * 32, "5Validator", f"5Miner{number}", "machine", 0)
        model = BenchModel(memory_gb * 1_000_000_000, bandwidth_gb_s)
        challenge = challenge_for(origin, model, [(0, f"GPU-{number}")], DEFAULT.proof, rng.randbytes)
        places = _chosen_places(challenge, rng)
        shard.append((challenge, _reply(challenge, places, rng)))
        chosen[challenge.secret] = places
    return FullSize(shard, chosen)


def sparse_tree(
    node: bytes, depth: int, leaves: Mapping[int, bytes], rng: random.Random
) -> tuple[bytes, dict[int, bytes]]:
    """The root over these leaves among random siblings, and each leaf's path."""
    level = dict(leaves)
    paths = dict.fromkeys(leaves, b"")
    for height in range(depth):
        for index in list(level):
            level.setdefault(index ^ 1, rng.randbytes(32))
        paths = {leaf: path + level[(leaf >> height) ^ 1] for leaf, path in paths.items()}
        level = {i >> 1: _digest(node, level[i] + level[i ^ 1]) for i in level if i % 2 == 0}
    return level[0], paths


def _chosen_places(challenge: Challenge, rng: random.Random) -> Places:
    p = challenge.parameters
    return Places(
        tuple(rng.randrange(p.leaves) for _ in range(p.rounds)),
        tuple(TilePlace(rng.randrange(p.tile_count), rng.randrange(256)) for _ in range(p.tiles)),
    )


def _reply(challenge: Challenge, places: Places, rng: random.Random) -> Reply:
    p = challenge.parameters
    empty = OpenedCard(
        (OpenedSegment(None, None, bytes(128), b""),) * p.rounds, (OpenedTile(bytes(512), b""),) * p.tiles
    )
    read_bytes = p.walkers * p.segments * p.segment_steps * 128
    round_s = read_bytes / (challenge.bounds.max_gb_s / DEFAULT.proof.max_bandwidth_share) / 1e9
    exchanges = [
        Exchange(rng.randbytes(32), (bytes(32),), 60.0 + r, 60.0 + r + round_s) for r in range(p.rounds + 1)
    ]
    blank = Reply(50.0, tuple(exchanges[:-1]), exchanges[-1], (empty,), 70.0, 0)
    placed = placed_card(0, challenge, blank, 0, places)
    walks = [_walked(placed, r, rng) for r in range(p.rounds)]
    root, tiles = _multiplied(placed, rng)
    rounds = tuple(
        Exchange(e.nonce, (walk_root,), e.sent_s, e.received_s)
        for e, (walk_root, _) in zip(blank.rounds, walks, strict=True)
    )
    product = Exchange(blank.product.nonce, (root,), blank.product.sent_s, blank.product.received_s)
    opening = OpenedCard(tuple(segment for _, segment in walks), tiles)
    return Reply(50.0, rounds, product, (opening,), 70.0, 25_000)


def _walked(placed: PlacedCard, number: int, rng: random.Random) -> tuple[bytes, OpenedSegment]:
    p, s = placed.parameters, placed.segments[number]
    before = rng.randbytes(128) if s.segment else bytes(128)
    heads = [struct.pack("<32sIIQQ8x", s.nonce, s.round, part, s.walker, s.segment) for part in range(4)]
    start = b"".join(_digest(b"start", head) for head in heads)
    state = np.frombuffer(before, np.uint32) ^ np.frombuffer(start, np.uint32)
    seed = np.frombuffer(placed.seed, np.uint32).copy()
    lines = np.array([p.lines], dtype=np.uint64)
    after = replay_segments(state[None, :], seed[None, :], lines, p.chain_w, p.segment_steps)[0].tobytes()
    leaves = {s.leaf: _state_leaf(after, s.round, s.walker, s.segment)}
    if s.segment:
        leaves[s.leaf - 1] = _state_leaf(before, s.round, s.walker, s.segment - 1)
    root, paths = sparse_tree(b"walknode", depth_of(p.leaves), leaves, rng)
    if not s.segment:
        return root, OpenedSegment(None, None, after, paths[s.leaf])
    return root, OpenedSegment(before, paths[s.leaf - 1], after, paths[s.leaf])


def _multiplied(placed: PlacedCard, rng: random.Random) -> tuple[bytes, tuple[OpenedTile, ...]]:
    p = placed.parameters
    k = len(placed.tiles)
    entries = product_entries(
        np.tile(np.frombuffer(placed.seed, np.uint32), (k, 1)),
        np.tile(np.frombuffer(placed.product_nonce, np.uint32), (k, 1)),
        np.array([t.page for t in placed.tiles], dtype=np.uint64),
        np.array([t.column for t in placed.tiles], dtype=np.uint32),
        p.chain_w,
    )
    contents: dict[int, bytearray] = {}
    for t, entry in zip(placed.tiles, entries, strict=True):
        tile = contents.setdefault(t.leaf, bytearray(rng.randbytes(512)))
        struct.pack_into("<H", tile, 2 * t.entry, int(entry))
    leaves = {leaf: _digest(b"tile", bytes(tile)) for leaf, tile in contents.items()}
    root, paths = sparse_tree(b"tilenode", depth_of(p.tile_count), leaves, rng)
    return root, tuple(OpenedTile(bytes(contents[t.leaf]), paths[t.leaf]) for t in placed.tiles)


def _state_leaf(state: bytes, number: int, walker: int, segment: int) -> bytes:
    return _digest(b"state", struct.pack("<128sI4xQQ40x", state, number, walker, segment))


def _digest(person: bytes, message: bytes) -> bytes:
    return hashlib.blake2s(message, person=person).digest()
