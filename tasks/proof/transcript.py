"""The transcript: challenge and reply as canonical JSON, enough for anybody to judge again all but the clock.

Canonical: keys sorted, no white space, octets in base64, so equal conversations give equal bytes. The
records themselves are the schema; what does not fit it is refused with `BadAnswer`.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import types
import typing
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import NoReturn

from kernels.messages import Opened, decode_bytes, encode
from kernels.protocol import DIGEST_BYTES
from tasks.errors import BadAnswer
from tasks.proof import messages
from tasks.proof.challenge import Challenge, seed_of
from tasks.proof.conversation import Failure, Reply

VERSION = 1
MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Transcript:
    """One conversation: exactly one of reply and failure is there."""

    version: int
    challenge: Challenge
    reply: Reply | None
    failure: Failure | None


def dump(challenge: Challenge, reply: Reply | Failure) -> bytes:
    """The conversation as bytes for the archive."""
    whole = Transcript(
        VERSION,
        challenge,
        reply if isinstance(reply, Reply) else None,
        reply if isinstance(reply, Failure) else None,
    )
    return _canonical(_plain(whole))


def is_canonical(content: bytes) -> bool:
    """Whether a transcript that can be loaded is written as `dump` writes, by this code or by older with fewer fields."""
    return _canonical(json.loads(content)) == content


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def load(content: bytes) -> tuple[Challenge, Reply | Failure]:
    """Read a transcript back; `BadAnswer` when it is none, or when a seed does not bind what it must."""
    if len(content) > MAX_BYTES:
        raise BadAnswer(f"a transcript of {len(content)} bytes, at most {MAX_BYTES}")
    try:
        return _checked(_record(Transcript, json.loads(content, parse_constant=_no_number), "transcript"))
    except (ValueError, RecursionError, OverflowError, struct.error) as error:
        raise BadAnswer(f"no transcript: {messages.printable(str(error))}") from error


def _checked(whole: object) -> tuple[Challenge, Reply | Failure]:
    assert isinstance(whole, Transcript)
    outcome = whole.reply or whole.failure
    if whole.version != VERSION or outcome is None or (whole.reply and whole.failure):
        raise BadAnswer("a transcript of another version, or without one outcome")
    _check_seeds(whole.challenge)
    if whole.reply is not None:
        _check_reply(whole.challenge, whole.reply)
    return whole.challenge, outcome


def _check_seeds(challenge: Challenge) -> None:
    count = len(challenge.cards)
    for card in challenge.cards:
        if card.seed != seed_of(challenge.origin, card.index, card.uuid, count, card.fresh):
            raise BadAnswer(f"the seed of card {card.index} does not bind its challenge")


def _check_reply(challenge: Challenge, reply: Reply) -> None:
    """Counts and lengths as a conversation would have let them through."""
    p, cards = challenge.parameters, len(challenge.cards)
    exchanges = (*reply.rounds, reply.product)
    if [len(e.roots) for e in exchanges] != [cards] * (p.rounds + 1):
        raise BadAnswer("a transcript with other counts than its challenge")
    digests = [challenge.secret, *(octets for e in exchanges for octets in (e.nonce, *e.roots))]
    if any(len(octets) != DIGEST_BYTES for octets in digests):
        raise BadAnswer(f"a secret, a nonce or a root is not of {DIGEST_BYTES} bytes")
    messages.read_opened(encode(Opened(reply.openings)), cards, p)


def _plain(value: object) -> object:
    """A record as JSON has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    names: Iterable[str] | None = getattr(value, "__dataclass_fields__", None)
    return {name: _plain(getattr(value, name)) for name in names} if names else value


def _record(kind: type, value: object, where: str) -> object:
    """JSON as a record of this class, with exactly its keys; one with a default may miss, as it did before there was it."""
    hints = _hints(kind)
    names = [f.name for f in fields(kind)]
    needed = {f.name for f in fields(kind) if f.default is MISSING}
    if not isinstance(value, dict) or not needed <= value.keys() <= set(names):
        raise BadAnswer(f"{where} has other keys than {', '.join(names)}")
    return kind(
        **{name: _typed(hints[name], value[name], f"{where}.{name}") for name in names if name in value}
    )


@cache
def _hints(kind: type) -> dict[str, object]:
    return typing.get_type_hints(kind)


def _typed(kind: object, value: object, where: str) -> object:
    """JSON as a value of this annotation: a record, a tuple of one kind, an optional, or a plain value."""
    if typing.get_origin(kind) is types.UnionType:
        inner = next(k for k in typing.get_args(kind) if k is not types.NoneType)
        return None if value is None else _typed(inner, value, where)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise BadAnswer(f"{where} is not a list")
        return tuple(_typed(typing.get_args(kind)[0], v, where) for v in value)
    assert isinstance(kind, type)
    if is_dataclass(kind):
        return _record(kind, value, where)
    return _atom(kind, value, where)


def _atom(kind: type, value: object, where: str) -> object:
    if kind is bytes:
        return _octets(value, where)
    if issubclass(kind, Enum):
        return kind(value)
    if kind is float and type(value) is int:
        value = float(value)
    # A literal such as 1e999 is read as infinite, and could not be written again.
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise BadAnswer(f"{where} is not of type {kind.__name__}, or not finite")
    return value


def _octets(value: object, where: str) -> bytes:
    if not isinstance(value, str):
        raise BadAnswer(f"{where} is no text")
    return decode_bytes(value, where, len(value) * 3 // 4 - value[-2:].count("="))


def _no_number(text: str) -> NoReturn:
    raise BadAnswer(f"{text} is no number of ours")
