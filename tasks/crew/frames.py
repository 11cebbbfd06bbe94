"""The link between foreman and hand: frames of a head and a body over a stream that is ours on both ends."""

from __future__ import annotations

import struct

MAX_FRAME_BYTES = 1 << 30
_SIZES = struct.Struct(">II")
HEADER_BYTES = _SIZES.size


def pack(head: bytes, body: bytes = b"") -> bytes:
    """One frame."""
    return _SIZES.pack(len(head), len(body)) + head + body


def sizes(header: bytes) -> tuple[int, int]:
    """Bytes of head and body; ValueError for a frame that nobody of ours sends."""
    head, body = _SIZES.unpack(header)
    if head + body > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {head + body} bytes")
    return head, body
