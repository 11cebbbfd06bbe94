"""Run the prover over standard input and output: `python -I -m kernels`, frames of u32 big-endian length and JSON.

SUBNET_SIMULATED_CARDS names the folder of simulated cards, where there are any, and SUBNET_PROOF_LOCKS that of the
cards' locks, where it is not the usual one. With the word `warm` as only argument everything is compiled into
NUMBA_CACHE_DIR and nothing is served.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import BinaryIO

from kernels.messages import frame_header, frame_size


def main(arguments: Sequence[str]) -> int:
    """Serve one conversation, or warm up; the exit code."""
    if list(arguments) not in ([], ["warm"]):
        sys.stderr.write(f"unknown arguments {list(arguments)}, expected none or 'warm'\n")
        return 2
    from kernels import prover  # noqa: PLC0415  loads the kernels, which takes half a second
    from kernels.cards import FolderCards  # noqa: PLC0415  the same
    from kernels.lock import locks_of  # noqa: PLC0415  the same

    if arguments:
        prover.warm()
        return 0
    folder = os.environ.get("SUBNET_SIMULATED_CARDS")
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    prover.serve(
        lambda: read_frame(requests),
        lambda frame: write_frame(answers, frame),
        FolderCards(folder) if folder else None,
        locks_of(os.environ),
    )
    return 0


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame, None at the end or in the middle of a frame; raises BadMessage for one too long."""
    header = stream.read(4)
    if len(header) < 4:
        return None
    size = frame_size(header)
    frame = stream.read(size)
    return frame if len(frame) == size else None


def write_frame(stream: BinaryIO, frame: bytes) -> None:
    """Send one frame; raises OSError when nobody reads any more."""
    stream.write(frame_header(len(frame)) + frame)
    stream.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
