"""An interpreter that lies on the wire: called as `liar.py LIE -I -c PROGRAM`, it is Python with the real prover.

It stands on a machine in the place of the announced interpreter. Only what the prover writes goes through a lie, which
has the channel itself: bytes, not frames.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

PIECE = bytes(65_536)
OPENED = 6
"""The number of the last answer: READY is 0, the rounds are 1 to 4, the product is 5."""

Lie = Callable[[int, bytes, BinaryIO], None]
"""The answer's number, its whole frame with the header, and the channel."""


def at(number: int, lie: Callable[[bytes, BinaryIO], None]) -> Lie:
    """Lie in the answer of this number only."""

    def write(answer: int, frame: bytes, channel: BinaryIO) -> None:
        if answer == number:
            lie(frame, channel)
        else:
            send(channel, frame)

    return write


def send(channel: BinaryIO, octets: bytes) -> None:
    channel.write(octets)
    channel.flush()


def large(frame: bytes, channel: BinaryIO) -> None:
    """A frame of 100 MB, and all of its bytes."""
    send(channel, (100 << 20).to_bytes(4, "big"))
    for _ in range(1_600):
        send(channel, PIECE)


def line(frame: bytes, channel: BinaryIO) -> None:
    """A line of text instead of a frame."""
    send(channel, frame[4:] + b"\n")


def half_and_silent(frame: bytes, channel: BinaryIO) -> None:
    send(channel, frame[: len(frame) // 2])
    time.sleep(60)


def half_and_gone(frame: bytes, channel: BinaryIO) -> None:
    send(channel, frame[: len(frame) // 2])
    os._exit(0)


def dripped(frame: bytes, channel: BinaryIO) -> None:
    for byte in frame:
        send(channel, bytes([byte]))
        time.sleep(0.2)


def twice(frame: bytes, channel: BinaryIO) -> None:
    send(channel, frame + frame)


def gone(frame: bytes, channel: BinaryIO) -> None:
    os._exit(0)


def longer(frame: bytes, channel: BinaryIO) -> None:
    """Bytes after the answer's end, in the same frame."""
    content = frame[4:] + b'{"type":"opened"}'
    send(channel, len(content).to_bytes(4, "big") + content)


def deep(frame: bytes, channel: BinaryIO) -> None:
    content = b'{"type":"opened","cards":' + b"[" * 60_000
    send(channel, len(content).to_bytes(4, "big") + content)


def empty_frames(frame: bytes, channel: BinaryIO) -> None:
    while True:
        send(channel, PIECE)


def endless_after(frame: bytes, channel: BinaryIO) -> None:
    """The whole answer, and then bytes without end."""
    send(channel, frame)
    while True:
        send(channel, PIECE)


def endless_errors(frame: bytes, channel: BinaryIO) -> None:
    """Words on the error output, without end, before the answer."""
    try:
        while True:
            os.write(2, PIECE)
    finally:
        send(channel, frame)


def nothing(frame: bytes, channel: BinaryIO) -> None:
    """No lie."""
    send(channel, frame)


LIES = MappingProxyType(
    {
        "no lie": at(1, nothing),
        "a frame of 100 MB": at(1, large),
        "a frame of 100 MB at OPEN": at(OPENED, large),
        "a line instead of a frame": at(1, line),
        "half a frame, then silence": at(1, half_and_silent),
        "half a frame, then gone": at(2, half_and_gone),
        "a frame dripped": at(1, dripped),
        "two answers": at(1, twice),
        "deep JSON": at(OPENED, deep),
        "empty frames without end": at(1, empty_frames),
        "errors without end": at(1, endless_errors),
        "gone at OPEN": at(OPENED, gone),
        "bytes after the end, in its frame": at(OPENED, longer),
        "bytes after the end, without end": at(OPENED, endless_after),
    }
)


def main(arguments: list[str]) -> None:
    """Run the program with the lie between the prover and its channel."""
    lie, rest = LIES[arguments[0]], arguments[1:]
    liars = Path(__file__).parents[2] / "deployments" / "localnet" / "liars.py"
    watcher = runpy.run_path(str(liars))["_Watcher"]
    sys.meta_path.insert(0, watcher({"kernels.prover": lambda prover: _put_between(prover, lie)}))
    sys.argv = ["-c", *rest[3:]]
    exec(compile(rest[2], "<string>", "exec"), {"__name__": "__main__"})


def _put_between(prover: object, lie: Lie) -> None:
    honest = prover.serve  # type: ignore[attr-defined]

    def serve(read: object, write: object, *of: object) -> None:
        channel, sent = write.__self__._sink, []  # type: ignore[attr-defined]

        def lying(frame: bytes) -> None:
            sent.append(frame)
            lie(len(sent) - 1, len(frame).to_bytes(4, "big") + frame, channel)

        honest(read, lying, *of)

    prover.serve = serve  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(sys.argv[1:])
