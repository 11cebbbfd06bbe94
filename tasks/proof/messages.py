"""What a prover answers, read strictly (docs/gpu-proof.md, Messages); every reader raises `BadAnswer`.

A frame is judged before it is understood: its size and its number of brackets are bounded, so that neither depth
nor length costs more than a linear look. Then every object has exactly its keys, every number is a JSON
integer, and every byte string has exactly its length in canonical base64. Only how long a path must be is
left to the verdict, which knows the tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from kernels.messages import (
    BAD_REQUEST,
    CARD_MEMORY_SHORT,
    CARD_NOT_FOUND,
    FORM_UNAVAILABLE,
    LOCK_UNAVAILABLE,
    MAX_FRAME_BYTES,
    PROVER_FAILED,
    STATEMENT,
    Body,
    Busy,
    Failed,
    OpenedCard,
    OpenedSegment,
    OpenedTile,
    decode_bytes,
)
from kernels.protocol import DIGEST_BYTES, TILE_BYTES, BadMessage, Parameters
from tasks.errors import BadAnswer

STATE_BYTES = 128
SMALL_FRAME_BYTES = 4_096
CARD_FRAME_BYTES = 64 * 1024
MAX_CARD_INDEX = 256
MAX_DEPTH = 40
"""No tree of ours is deeper."""
MAX_DETAIL_CHARS = 200
_SMALL_BRACKETS = 32
_CODES = re.compile(
    f"{CARD_NOT_FOUND}|{CARD_MEMORY_SHORT}|{FORM_UNAVAILABLE}|{LOCK_UNAVAILABLE}|{BAD_REQUEST}|{PROVER_FAILED}"
)

Answer = TypeVar("Answer")


def read_ready(frame: bytes) -> Failed | Busy | None:
    """None: every card is full. Only here may a machine say that its cards are held for another validator."""
    kinds: dict[str, Callable[[Body], Busy | None]] = {
        "ready": lambda _: None,
        "busy": lambda body: Busy(body.text("holder", STATEMENT)),
    }
    return _read(frame, kinds, SMALL_FRAME_BYTES, _SMALL_BRACKETS)


def read_walked(frame: bytes, number: int, cards: int) -> tuple[bytes, ...] | Failed:
    """The roots of one round, 32 bytes a card."""

    def roots(body: Body) -> tuple[bytes, ...]:
        body.integer("round", number, number)
        return _roots(body, cards)

    return _read(frame, {"walked": roots}, SMALL_FRAME_BYTES, _SMALL_BRACKETS)


def read_multiplied(frame: bytes, cards: int) -> tuple[bytes, ...] | Failed:
    """The roots of the products, 32 bytes a card."""
    kinds = {"multiplied": lambda body: _roots(body, cards)}
    return _read(frame, kinds, SMALL_FRAME_BYTES, _SMALL_BRACKETS)


def read_opened(frame: bytes, cards: int, parameters: Parameters) -> tuple[OpenedCard, ...] | Failed:
    """The openings of all cards; whether they hold is the verdict's affair."""
    brackets = _SMALL_BRACKETS + cards * (4 + parameters.rounds + parameters.tiles)

    def openings(body: Body) -> tuple[OpenedCard, ...]:
        return tuple(_card(card, parameters) for card in body.bodies("cards", cards, cards))

    return _read(frame, {"opened": openings}, opened_limit_bytes(cards), brackets)


def opened_limit_bytes(cards: int) -> int:
    """The longest `opened` that is read: 64 KiB a card."""
    return min(MAX_FRAME_BYTES, cards * CARD_FRAME_BYTES)


def printable(text: str) -> str:
    """Foreign text, cut and without anything that a terminal would act upon."""
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_DETAIL_CHARS])


def _read(
    frame: bytes, kinds: Mapping[str, Callable[[Body], Answer]], limit_bytes: int, brackets: int
) -> Answer | Failed:
    if len(frame) > limit_bytes:
        raise BadAnswer(f"a frame of {len(frame)} bytes, at most {limit_bytes}")
    # Counted inside texts too: a count can't be deceived, and an honest answer has few there.
    if frame.count(b"{") + frame.count(b"[") > brackets:
        raise BadAnswer(f"more than {brackets} objects and lists")
    try:
        body = Body.parse(frame)
        kind = body.text("type", re.compile("|".join([*kinds, "failed"])))
        answer = _failed(body) if kind == "failed" else kinds[kind](body)
        body.close()
    except BadMessage as error:
        raise BadAnswer(printable(str(error))) from error
    return answer


def _failed(body: Body) -> Failed:
    code = body.text("code", _CODES)
    card, detail = body.take("card"), body.take("detail")
    if card is not None and not (type(card) is int and 0 <= card < MAX_CARD_INDEX):
        raise BadMessage("card is neither an index nor null")
    if not isinstance(detail, str):
        raise BadMessage("detail is no text")
    return Failed(code, card, printable(detail))


def _roots(body: Body, cards: int) -> tuple[bytes, ...]:
    roots = body.items("roots", cards, cards)
    return tuple(decode_bytes(root, "root", DIGEST_BYTES) for root in roots)


def _card(body: Body, parameters: Parameters) -> OpenedCard:
    rounds, tiles = parameters.rounds, parameters.tiles
    card = OpenedCard(
        tuple(_segment(segment) for segment in body.bodies("segments", rounds, rounds)),
        tuple(_tile(tile) for tile in body.bodies("tiles", tiles, tiles)),
    )
    body.close()
    return card


def _segment(body: Body) -> OpenedSegment:
    before, before_path = body.take("before"), body.take("before_path")
    if (before is None) != (before_path is None):
        raise BadMessage("before without its path, or a path without before")
    segment = OpenedSegment(
        None if before is None else decode_bytes(before, "before", STATE_BYTES),
        None if before_path is None else _path(before_path, "before_path"),
        body.binary("after", STATE_BYTES),
        _path(body.take("after_path"), "after_path"),
    )
    body.close()
    return segment


def _tile(body: Body) -> OpenedTile:
    tile = OpenedTile(body.binary("tile", TILE_BYTES), _path(body.take("path"), "path"))
    body.close()
    return tile


def _path(value: object, name: str) -> bytes:
    """Whole digests joined, as many as there are, up to `MAX_DEPTH`."""
    if not isinstance(value, str) or len(value) > 4 * (MAX_DEPTH * DIGEST_BYTES // 3 + 1):
        raise BadMessage(f"{name} is no text of at most {MAX_DEPTH} digests")
    path = decode_bytes(value, name, len(value) * 3 // 4 - value[-2:].count("="))
    if len(path) % DIGEST_BYTES:
        raise BadMessage(f"{name} has {len(path)} bytes, expected whole digests")
    return path
