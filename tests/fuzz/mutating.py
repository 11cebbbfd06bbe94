"""Inputs made from true ones by chance: bytes changed, cut, doubled, moved; numbers and JSON values exchanged.

The same seed makes the same inputs, whatever machine it runs on.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from tests.tasks.inspection.damage import NUMBER, STRANGE_NUMBERS, coloured, translated, with_decimal_commas

Mutation: TypeAlias = Callable[[random.Random, bytes], bytes]
MAX_BYTES = 1 << 20
"""No frame is longer."""

_STRANGE = (
    *STRANGE_NUMBERS,
    b"\0",
    b"\xff",
    b"\n",
    b"\r\n",
    b"\x1b[2J",
    b"\xe2\x80\xae",
    b"\xed\xa0\x80",
    b"'",
    b'"',
    b"\\",
    b"\\ud800",
    b"<",
    b">",
    b"&a;",
    b"<!DOCTYPE a [",
    b"<![CDATA[",
    b"{",
    b"[" * 300,
    b'{"a":' * 300,
    b"}",
    b",",
    b":",
    b"=",
    b" ",
    b"--\n",
    b"null",
    b"true",
)
_VALUES: tuple[object, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1 << 64,
    1e308,
    0.5,
    "",
    "x" * 5_000,
    "\ud800",
    "\0",
    [],
    {},
    [[]],
    {"": {}},
)


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, changed in one to six places."""
    data = rng.choice(seeds)
    for _ in range(rng.randint(1, 6)):
        data = rng.choice(_MUTATIONS)(rng, data)
    if rng.random() < 0.1:
        data = _spliced(rng, data, rng.choice(seeds))
    return data[:MAX_BYTES]


def _place(rng: random.Random, data: bytes) -> tuple[int, int]:
    """A slice of it, mostly a short one."""
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 1, 2, 4, 16, 64, 1_024, len(data))))


def _flipped(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return b"\0"
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _noisy(rng: random.Random, data: bytes) -> bytes:
    start, end = _place(rng, data)
    return data[:start] + rng.randbytes(min(end - start, 256)) + data[end:]


def _without(rng: random.Random, data: bytes) -> bytes:
    start, end = _place(rng, data)
    return data[:start] + data[end:]


def _twice(rng: random.Random, data: bytes) -> bytes:
    start, end = _place(rng, data)
    return data[:end] + data[start:end] + data[end:]


def _often(rng: random.Random, data: bytes) -> bytes:
    """A slice again and again: rows without end, as many as a limit lets through."""
    start, end = _place(rng, data)
    piece = data[start:end][:4_096] or b"0"
    times = rng.choice((3, 100, 10_000, MAX_BYTES)) // len(piece) + 1
    return data[:start] + piece * times + data[start:]


def _moved(rng: random.Random, data: bytes) -> bytes:
    start, end = _place(rng, data)
    rest = data[:start] + data[end:]
    at = rng.randrange(len(rest) + 1)
    return rest[:at] + data[start:end] + rest[at:]


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _with_strange(rng: random.Random, data: bytes) -> bytes:
    start, end = _place(rng, data)
    return data[:start] + rng.choice(_STRANGE) + data[rng.choice((start, end)) :]


def _with_number(rng: random.Random, data: bytes) -> bytes:
    found = list(NUMBER.finditer(data[:65_536]))
    if not found:
        return data
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(STRANGE_NUMBERS) + data[one.end() :]


def _lines_changed(rng: random.Random, data: bytes) -> bytes:
    lines = data[:262_144].split(b"\n")
    at = rng.randrange(len(lines))
    change = rng.randrange(4)
    if change == 0:
        del lines[at]
    elif change == 1:
        lines.insert(at, rng.choice(lines))
    elif change == 2:
        rng.shuffle(lines)
    else:
        lines[at] = b" ".join(reversed(lines[at].split(b" ")))
    return b"\n".join(lines)


def _in_another_way(rng: random.Random, data: bytes) -> bytes:
    """Another locale, colours, another encoding."""
    change = rng.choice((translated, with_decimal_commas, coloured, _as_utf_16))
    return change(data[:65_536])


def _as_utf_16(data: bytes) -> bytes:
    return data.decode("latin-1").encode("utf-16")


def _json_changed(rng: random.Random, data: bytes) -> bytes:
    """A value of a JSON object or list exchanged, removed, doubled or put one level deeper; unchanged if it is none."""
    head, brace, rest = data.partition(b"{")
    try:
        value = json.loads(brace + rest)
    except (ValueError, RecursionError):
        return data
    holders = list(_holders(value))[:2_000]
    if holders:
        _change_in(rng, rng.choice(holders))
    try:
        return head + json.dumps(value, separators=rng.choice(((",", ":"), (" , ", " : ")))).encode()
    except (ValueError, RecursionError):
        return data


def _holders(value: object) -> list[dict[str, object] | list[object]]:
    """All objects and lists in it that have something."""
    found: list[dict[str, object] | list[object]] = []
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict | list) and one:
            found.append(one)
            todo.extend(one.values() if isinstance(one, dict) else one)
    return found


def _change_in(rng: random.Random, holder: dict[str, object] | list[object]) -> None:
    key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    change = rng.randrange(5)
    if change == 0:
        holder[key] = rng.choice(_VALUES)  # type: ignore[index,call-overload]
    elif change == 1:
        del holder[key]  # type: ignore[arg-type]
    elif change == 2:
        holder[key] = [holder[key]] * rng.choice((1, 2, 100))  # type: ignore[index,call-overload]
    elif change == 3 and isinstance(holder, dict):
        holder[rng.choice(("", "x", "detail", str(key).upper()))] = holder[key]  # type: ignore[index]
    elif isinstance(holder, list):
        holder.extend([holder[key]] * rng.choice((1, 70, 3_000)))  # type: ignore[index,call-overload]


def _spliced(rng: random.Random, one: bytes, other: bytes) -> bytes:
    return one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :]


def _fields_changed(rng: random.Random, data: bytes) -> bytes:
    """Fields between commas, colons and blanks exchanged with each other."""
    parts = re.split(rb"([,: ])", data[:65_536])
    for _ in range(rng.randint(1, 3)):
        i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
        parts[i], parts[j] = parts[j], parts[i]
    return b"".join(parts)


_MUTATIONS: tuple[Mutation, ...] = (
    _flipped,
    _noisy,
    _without,
    _twice,
    _often,
    _moved,
    _cut,
    _with_strange,
    _with_strange,
    _with_number,
    _with_number,
    _lines_changed,
    _in_another_way,
    _json_changed,
    _json_changed,
    _json_changed,
    _fields_changed,
)
