"""Run the prover over standard input and output: `python -I -m kernels`, frames of u32 big-endian length and JSON.

SUBNET_SIMULATED_CARDS names the folder of simulated cards, where there are any, and SUBNET_PROOF_LOCKS that of the
cards' locks, where it is not the usual one. With the word `warm` as only argument everything is compiled into
NUMBA_CACHE_DIR and nothing is served: the CPU form, and the CUDA form where there is a driver.
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
        return _warm_cards()
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


def _warm_cards() -> int:
    """Warm the CUDA form up where there is a driver; the exit code, 1 with what is missing on stderr."""
    from kernels import prover  # noqa: PLC0415  loaded already
    from kernels.cards import CardError  # noqa: PLC0415  the same
    from kernels.cuda import needs  # noqa: PLC0415  not for serving
    from kernels.forms import FormUnavailable  # noqa: PLC0415  loaded already

    if needs.driver_version() is None:
        return 0
    try:
        prover.warm_cards()
    except (FormUnavailable, CardError) as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 1
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
