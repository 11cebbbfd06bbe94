"""Ways in which a command's output is not what it should be: of bytes, and of what stands in them. All are pure.

`DAMAGES` are one malformed output each, by name; `cuts`, `without_a_line` and `with_numbers` make many of one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, repeat

NUMBER = re.compile(rb"(?<![0-9A-Za-z.])[0-9]+(\.[0-9]+)?(?![0-9A-Za-z])")
_WORD = re.compile(rb"[A-Za-z]{3,}")
STRANGE_NUMBERS = (
    b"-1",
    b"-0",
    b"+7",
    b"nan",
    b"NaN",
    b"inf",
    b"-Infinity",
    b"1e400",
    b"1e-400",
    b"0x10",
    b"1_000",
    b"1.024,5",
    b"",
    b"[N/A]",
    b"99999999999999999999",
    b"9" * 4_000,
    b"18446744073709551616",
    "٣".encode(),
    "½".encode(),
    b"1 2",
)


def translated(out: bytes) -> bytes:
    """Another language: each word in other letters, as a translation would have it."""
    return _WORD.sub(lambda word: "ü".encode() + word[0].swapcase(), out)


def with_decimal_commas(out: bytes) -> bytes:
    """A locale that writes 1,5; where there is no fraction, one that groups thousands by points."""
    if re.search(rb"[0-9]\.[0-9]", out):
        return re.sub(rb"(?<=[0-9])\.(?=[0-9])", b",", out)
    return re.sub(rb"(?<=[0-9])(?=([0-9]{3}){1,4}(?![0-9]))", b".", out)


def coloured(out: bytes) -> bytes:
    """Every line between escape sequences, as a tool prints that takes us for a terminal."""
    return b"".join(b"\x1b[1;32m%b\x1b[0m\n" % line for line in out.splitlines())


def with_nul(out: bytes) -> bytes:
    """A NUL after each byte: UTF-16, or a broken pipe of a driver."""
    return b"".join(b"%c\0" % byte for byte in out)


def with_noise_before(out: bytes) -> bytes:
    """What a login script prints goes first."""
    return b"Welcome to rack 7!\nLast login: today\n" + out


def without_newlines(out: bytes) -> bytes:
    """All in one line."""
    return out.replace(b"\n", b"")


def rows_to_the_limit(out: bytes, limit_bytes: int) -> bytes:
    """10^9 rows, as many as are let through: the last line with anything in it, again and again."""
    row = next((line for line in reversed(out.splitlines()) if line.strip()), b"0") + b"\n"
    return b"".join(islice(repeat(row), limit_bytes // len(row)))


DAMAGES: Mapping[str, Callable[[bytes, int], bytes]] = {
    "nothing": lambda _, __: b"",
    "half": lambda out, _: out[: len(out) // 2],
    "decimal commas": lambda out, _: with_decimal_commas(out),
    "translated": lambda out, _: translated(out),
    "ANSI colours": lambda out, _: coloured(out),
    "NUL": lambda out, _: with_nul(out),
    "invalid UTF-8": lambda out, _: out.replace(b" ", b"\xff").replace(b"<", b"\xc3"),
    "UTF-16": lambda out, _: out.decode().encode("utf-16"),
    "10^9 rows": rows_to_the_limit,
    "negative numbers": lambda out, _: NUMBER.sub(rb"-\g<0>", out),
    "enormous numbers": lambda out, _: NUMBER.sub(b"9" * 30, out),
    "nan": lambda out, _: NUMBER.sub(b"nan", out),
    "inf": lambda out, _: NUMBER.sub(b"inf", out),
    "everything twice": lambda out, _: out + out,
    "noise of a login": lambda out, _: with_noise_before(out),
    "in one line": lambda out, _: without_newlines(out),
    "CRLF": lambda out, _: out.replace(b"\n", b"\r\n"),
}
"""By what it is: (output, the command's limit) -> what came instead."""


def cuts(out: bytes, points: int = 48) -> Iterator[bytes]:
    """The output, broken off at so many places."""
    step = max(1, len(out) // points)
    return (out[:end] for end in range(0, len(out), step))


def without_a_line(out: bytes, most: int = 64) -> Iterator[bytes]:
    """The output without one of its lines, for each of them."""
    lines = out.splitlines(keepends=True)
    step = max(1, len(lines) // most)
    return (b"".join(lines[:i] + lines[i + 1 :]) for i in range(0, len(lines), step))


def with_numbers(out: bytes, most: int = 24) -> Iterator[bytes]:
    """The output with one of its numbers replaced by each of the strange ones."""
    found = list(NUMBER.finditer(out))
    step = max(1, len(found) // most)
    return (
        out[: match.start()] + strange + out[match.end() :]
        for match in found[::step]
        for strange in STRANGE_NUMBERS
    )
