"""The messages of the proof as the prover reads and writes them: one JSON object a frame, bytes in base64.

What comes from the other side is hostile: unknown, missing and repeated keys, floats, other base64 than the
one of a value, wrong lengths, endless nesting are all `BadMessage`, which says what does not fit.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from dataclasses import dataclass, fields
from typing import NoReturn, Union

from kernels.protocol import DIGEST_BYTES, RANGES, BadMessage, Parameters, check_integer

VERSION = 2
MAX_FRAME_BYTES = 1 << 20
MAX_CARDS = 16
MAX_DETAIL_CHARS = 200
FORMS = re.compile("cpu|cuda")
UUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
MAX_STATEMENT_CHARS = 512
STATEMENT = re.compile(rf"[ -~\n]{{0,{MAX_STATEMENT_CHARS}}}")
"""For whom a card is held, in V's words: the prover keeps it and passes it on, and can't read it."""

CARD_NOT_FOUND = "CARD_NOT_FOUND"
CARD_MEMORY_SHORT = "CARD_MEMORY_SHORT"
FORM_UNAVAILABLE = "FORM_UNAVAILABLE"
BAD_REQUEST = "BAD_REQUEST"
PROVER_FAILED = "PROVER_FAILED"
LOCK_UNAVAILABLE = "LOCK_UNAVAILABLE"


@dataclass(frozen=True)
class CardSeed:
    """One card that GO asks for."""

    index: int
    uuid: str
    seed: bytes


@dataclass(frozen=True)
class Go:
    """V: fill these cards."""

    form: str
    """`cpu` or `cuda`."""
    parameters: Parameters
    commitment: bytes
    cards: tuple[CardSeed, ...]
    statement: str = ""
    """That V holds the cards, signed: for other validators."""


@dataclass(frozen=True)
class Walk:
    """V: walk round `round`."""

    round: int
    nonce: bytes
    statement: str = ""
    """As in GO, and fresh: a wave may wait longer for its slowest than a statement is good for."""


@dataclass(frozen=True)
class Multiply:
    """V: multiply."""

    nonce: bytes


@dataclass(frozen=True)
class Open:
    """V: the secret, and with it the places."""

    secret: bytes


@dataclass(frozen=True)
class End:
    """V: free everything."""


@dataclass(frozen=True)
class Ready:
    """E: every card is full."""


@dataclass(frozen=True)
class Failed:
    """E: why it stops."""

    code: str
    card: int | None
    """The card's index in GO, None when it concerns no single card."""
    detail: str


@dataclass(frozen=True)
class Busy:
    """E: another proof holds the cards; only in answer to GO."""

    holder: str
    """The statement that the other validator gave, empty when none is known."""


@dataclass(frozen=True)
class Walked:
    """E: the roots of a round, one a card in GO's order."""

    round: int
    roots: tuple[bytes, ...]


@dataclass(frozen=True)
class Multiplied:
    """E: the roots of the product, one a card in GO's order."""

    roots: tuple[bytes, ...]


@dataclass(frozen=True)
class OpenedSegment:
    """The states around one opened segment; `before` is None for a walker's segment 0."""

    before: bytes | None
    before_path: bytes | None
    after: bytes
    after_path: bytes


@dataclass(frozen=True)
class OpenedTile:
    """One opened tile, 512 bytes, and its path."""

    tile: bytes
    path: bytes


@dataclass(frozen=True)
class OpenedCard:
    """Everything that one card opens."""

    segments: tuple[OpenedSegment, ...]
    tiles: tuple[OpenedTile, ...]


@dataclass(frozen=True)
class Opened:
    """E: what every card opens, in GO's order."""

    cards: tuple[OpenedCard, ...]


Request = Union[Go, Walk, Multiply, Open, End]  # noqa: UP007  evaluated, and executors may run Python 3.9
Answer = Union[Ready, Failed, Busy, Walked, Multiplied, Opened]  # noqa: UP007  the same


Part = Union[CardSeed, OpenedSegment, OpenedTile, OpenedCard]  # noqa: UP007  the same
_TYPES = {
    Go: "go",
    Walk: "walk",
    Multiply: "multiply",
    Open: "open",
    End: "end",
    Ready: "ready",
    Failed: "failed",
    Busy: "busy",
    Walked: "walked",
    Multiplied: "multiplied",
    Opened: "opened",
}


def encode(message: Request | Answer) -> bytes:
    """A message as one frame's bytes: a JSON object, bytes in base64."""
    head: dict[str, object] = {"type": _TYPES[type(message)]}
    if isinstance(message, Go):
        head["version"] = VERSION
    return json.dumps({**head, **_plain_fields(message)}, separators=(",", ":")).encode()


def _plain_fields(of: Request | Answer | Part | Parameters) -> dict[str, object]:
    """The fields of a message or of a part of one, in JSON's types; the parameters stand among GO's own."""
    plain: dict[str, object] = {}
    for field in fields(of):
        value = getattr(of, field.name)
        plain.update(_plain_fields(value) if isinstance(value, Parameters) else {field.name: _plain(value)})
    return plain


def _plain(value: object) -> object:
    """One value in JSON's types."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, (CardSeed, OpenedSegment, OpenedTile, OpenedCard)):
        return _plain_fields(value)
    return value


def parse_request(frame: bytes) -> Request:
    """What V asks, strictly; raises BadMessage."""
    body = Body.parse(frame)
    kind = body.text("type", re.compile("[a-z]{1,16}"))
    request: Request
    if kind == "go":
        request = _parse_go(body)
    elif kind == "walk":
        request = Walk(
            body.integer("round", 0, RANGES["rounds"][1]),
            body.binary("nonce", DIGEST_BYTES),
            body.text("statement", STATEMENT),
        )
    elif kind == "multiply":
        request = Multiply(body.binary("nonce", DIGEST_BYTES))
    elif kind == "open":
        request = Open(body.binary("secret", DIGEST_BYTES))
    elif kind == "end":
        request = End()
    else:
        raise BadMessage(f"type is {kind!r}, expected go, walk, multiply, open or end")
    body.close()
    return request


def _parse_go(body: Body) -> Go:
    """GO, with its parameters checked and its cards distinct."""
    body.integer("version", VERSION, VERSION)
    form = body.text("form", FORMS)
    parameters = Parameters(**{name: body.integer(name, *limits) for name, limits in RANGES.items()})
    promised = body.binary("commitment", DIGEST_BYTES)
    cards = tuple(_parse_card(card) for card in body.bodies("cards", 1, MAX_CARDS))
    if len({card.index for card in cards}) < len(cards) or len({card.uuid for card in cards}) < len(cards):
        raise BadMessage("cards lists an index or a UUID twice")
    return Go(form, parameters, promised, cards, body.text("statement", STATEMENT))


def _parse_card(body: Body) -> CardSeed:
    """One entry of GO's cards."""
    card = CardSeed(body.integer("index", 0, 255), body.text("uuid", UUID), body.binary("seed", DIGEST_BYTES))
    body.close()
    return card


class Body:
    """A foreign JSON object, read key by key; `close` refuses what was not asked for."""

    def __init__(self, value: object, name: str) -> None:
        if not isinstance(value, dict):
            raise BadMessage(f"{name} is {_kind(value)}, expected an object")
        self._left: dict[str, object] = dict(value)
        self._name = name

    @classmethod
    def parse(cls, frame: bytes) -> Body:
        """The object in a frame: no duplicate keys, no floats, no NaN, no endless nesting."""
        if len(frame) > MAX_FRAME_BYTES:
            raise BadMessage(f"frame of {len(frame)} bytes, expected at most {MAX_FRAME_BYTES}")
        try:
            value = json.loads(
                frame.decode("utf-8"),
                object_pairs_hook=_distinct,
                parse_float=_no_number,
                parse_constant=_no_number,
            )
        except BadMessage:
            raise
        except (ValueError, RecursionError) as error:
            raise BadMessage(f"no JSON object: {error!s:.120}") from None
        return cls(value, "message")

    def take(self, key: str) -> object:
        """The value of a key that must be there."""
        if key not in self._left:
            raise BadMessage(f"{self._name} has no {key!r}")
        return self._left.pop(key)

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer in its range."""
        value = self.take(key)
        check_integer(key, value, low, high)
        assert isinstance(value, int)
        return value

    def text(self, key: str, pattern: re.Pattern[str]) -> str:
        """A text that matches as a whole."""
        value = self.take(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise BadMessage(f"{key} is {value!r:.80}, expected {pattern.pattern}")
        return value

    def binary(self, key: str, size: int) -> bytes:
        """Bytes of exactly this size, from standard base64 with padding."""
        return decode_bytes(self.take(key), key, size)

    def items(self, key: str, low: int, high: int) -> list[object]:
        """A list with a number of entries in the range."""
        value = self.take(key)
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise BadMessage(f"{key} is {_kind(value)}, expected a list of {low} to {high} entries")
        return value

    def bodies(self, key: str, low: int, high: int) -> list[Body]:
        """A list of objects."""
        return [Body(item, f"entry of {key}") for item in self.items(key, low, high)]

    def close(self) -> None:
        """Refuse keys that nobody has asked for."""
        if self._left:
            raise BadMessage(f"{self._name} has the unknown key {min(self._left)!r:.80}")


def decode_bytes(value: object, name: str, size: int) -> bytes:
    """Bytes of exactly this size from base64; one text only stands for each value."""
    if not isinstance(value, str) or len(value) != 4 * -(-size // 3):
        raise BadMessage(f"{name} is {_kind(value)}, expected base64 of {size} bytes")
    try:
        decoded = base64.b64decode(value.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise BadMessage(f"{name} is no standard base64 with padding") from None
    if len(decoded) != size or base64.b64encode(decoded).decode() != value:
        raise BadMessage(f"{name} has {len(decoded)} bytes or loose bits, expected {size} bytes")
    return decoded


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys occur once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadMessage("an object has a key twice")
    return found


def _no_number(text: str) -> NoReturn:
    """Refuse floats, NaN and infinities."""
    raise BadMessage(f"{text:.40} is no integer")


def _kind(value: object) -> str:
    """A short word for a foreign value."""
    size = f" of {len(value)}" if isinstance(value, (str, list, dict)) else ""
    return type(value).__name__ + size


# --- frames ------------------------------------------------------------------------------------------


def frame_header(size: int) -> bytes:
    """The four bytes before a frame of this size."""
    return struct.pack(">I", size)


def frame_size(header: bytes) -> int:
    """The size that four bytes announce; raises BadMessage above the limit."""
    size: int = struct.unpack(">I", header)[0]
    if size > MAX_FRAME_BYTES:
        raise BadMessage(f"frame of {size} bytes, expected at most {MAX_FRAME_BYTES}")
    return size
