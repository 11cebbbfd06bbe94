"""A session without SSH: the far end's program as a child of ours, with pipes for the channel.

What the validator does on a machine needs no more of a session than frames, so all of it can be tried on the very machine
that one sits at.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from pathlib import Path

from storage.records import StepTime
from tasks.edges.shell import LOADER
from tasks.errors import HostAway, LimitExceeded


class PipeSession:
    """A program of this machine's Python, usually the one that `LOADER` waits for; as `tasks.edges.shell.Session`."""

    def __init__(
        self,
        log: Path,
        environment: dict[str, str] | None = None,
        arguments: tuple[str, ...] = ("-I", "-c", LOADER),
    ) -> None:
        self.steps: tuple[StepTime, ...] = ()
        self.bytes_received = 0
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )

    @property
    def is_alive(self) -> bool:
        """Whether the program still runs."""
        return self.process.poll() is None

    def send(self, frame: bytes, *, deadline: float) -> None:  # noqa: ARG002  a pipe of ours is never long in taking it
        """Send one frame."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(len(frame).to_bytes(4, "big") + frame)
            self.process.stdin.flush()
        except OSError as error:
            raise HostAway(f"talk: {error}") from error

    def receive(self, *, deadline: float, limit_bytes: int) -> bytes:
        """The next frame, at most `limit_bytes` long."""
        size = int.from_bytes(self._read(4, deadline), "big")
        if size > limit_bytes:
            raise LimitExceeded("a frame", f"{limit_bytes} bytes")
        return self._read(size, deadline)

    def close(self) -> None:
        """End the program as a lost session does: it is told of nothing."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _read(self, size: int, deadline: float) -> bytes:
        assert self.process.stdout is not None
        file, read = self.process.stdout.fileno(), bytearray()
        while len(read) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([file], [], [], left)[0]:
                raise HostAway("talk: no answer by its deadline")
            piece = self.process.stdout.read1(size - len(read))  # type: ignore[attr-defined]
            if not piece:
                raise HostAway("talk: the program ended")
            read += piece
            self.bytes_received += len(piece)
        return bytes(read)
