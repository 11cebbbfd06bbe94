"""What a card opened, each opening beside the place where V looks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernels import protocol
from kernels.messages import OpenedSegment, OpenedTile
from kernels.protocol import TILE_SIDE, Parameters
from tasks.proof.challenge import Challenge
from tasks.proof.conversation import Reply


@dataclass(frozen=True, slots=True)
class TilePlace:
    """A tile to be opened, and the entry of it, 0..255 row by row, that V computes."""

    index: int
    entry: int


@dataclass(frozen=True, slots=True)
class Places:
    """What one card must open."""

    segments: tuple[int, ...]
    """For each round, the index of its leaf."""
    tiles: tuple[TilePlace, ...]


PlaceRule = Callable[[Challenge, Reply, int], Places]
"""Challenge, reply and the card's position in them -> what it must open."""


@dataclass(frozen=True, slots=True)
class PlacedSegment:
    """One segment that was to be opened, and its opening."""

    round: int
    walker: int
    segment: int
    leaf: int
    """Its index in the round's tree."""
    nonce: bytes
    """The card's own nonce of the round."""
    root: bytes
    opening: OpenedSegment

    def __str__(self) -> str:
        return f"round {self.round}, walker {self.walker}, segment {self.segment}"


@dataclass(frozen=True, slots=True)
class PlacedTile:
    """One tile that was to be opened, the entry of it that V computes, and its opening."""

    leaf: int
    entry: int
    page: int
    """The page of D that is the entry's row of A."""
    column: int
    root: bytes
    opening: OpenedTile

    def __str__(self) -> str:
        return f"tile {self.leaf}, entry {self.entry}"


@dataclass(frozen=True, slots=True)
class PlacedCard:
    """Everything that a card opened."""

    number: int
    """Among all cards that are judged together."""
    seed: bytes
    parameters: Parameters
    product_nonce: bytes
    """The card's own."""
    segments: tuple[PlacedSegment, ...]
    tiles: tuple[PlacedTile, ...]


def drawn_places(challenge: Challenge, reply: Reply, at: int) -> Places:
    """The places of the protocol: drawn by the secret and everything that the card has promised."""
    p = challenge.parameters
    roots = [exchange.roots[at] for exchange in reply.rounds]
    promised = protocol.open_digest(challenge.cards[at].seed, roots, reply.product.roots[at])
    draws = [protocol.place(challenge.secret, promised, j) for j in range(p.rounds + p.tiles)]
    return Places(
        tuple(draw.index(p.leaves) for draw in draws[: p.rounds]),
        tuple(TilePlace(draw.index(p.tile_count), draw.entry) for draw in draws[p.rounds :]),
    )


def placed_card(number: int, challenge: Challenge, reply: Reply, at: int, places: Places) -> PlacedCard:
    """The openings of the challenge's card at position `at`, beside these places."""
    p, seed, opening = challenge.parameters, challenge.cards[at].seed, reply.openings[at]
    nonce = protocol.card_nonce(reply.product.nonce, seed)
    root = reply.product.roots[at]
    return PlacedCard(
        number,
        seed,
        p,
        nonce,
        tuple(_segment(challenge, reply, at, r, leaf) for r, leaf in enumerate(places.segments)),
        tuple(_tile(p, nonce, root, *placed) for placed in zip(places.tiles, opening.tiles, strict=True)),
    )


def _segment(challenge: Challenge, reply: Reply, at: int, number: int, leaf: int) -> PlacedSegment:
    exchange = reply.rounds[number]
    walker, segment = divmod(leaf, challenge.parameters.segments)
    return PlacedSegment(
        round=number,
        walker=walker,
        segment=segment,
        leaf=leaf,
        nonce=protocol.card_nonce(exchange.nonce, challenge.cards[at].seed),
        root=exchange.roots[at],
        opening=reply.openings[at].segments[number],
    )


def _tile(
    parameters: Parameters, nonce: bytes, root: bytes, place: TilePlace, opening: OpenedTile
) -> PlacedTile:
    down, across = divmod(place.index, parameters.columns // TILE_SIDE)
    row, column = divmod(place.entry, TILE_SIDE)
    return PlacedTile(
        leaf=place.index,
        entry=place.entry,
        page=protocol.row_page(nonce, TILE_SIDE * down + row, parameters.pages),
        column=TILE_SIDE * across + column,
        root=root,
        opening=opening,
    )
