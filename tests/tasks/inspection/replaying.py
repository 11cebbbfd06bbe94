"""A session without a network: it answers with frames that stand ready, whatever it is asked."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.errors import HostAway, LimitExceeded


class Replaying:
    """A `tasks.edges.shell.Session` over frames in memory; when they are used up, the other side has hung up."""

    def __init__(self, frames: Iterable[bytes]) -> None:
        self._frames = list(frames)[::-1]
        self.sent: list[bytes] = []
        self.is_alive = True
        self.bytes_received = 0

    def send(self, frame: bytes, *, deadline: float) -> None:  # noqa: ARG002  nothing here takes time
        """Keep it."""
        self.sent.append(frame)

    def receive(self, *, deadline: float, limit_bytes: int) -> bytes:  # noqa: ARG002  as above
        """The next frame that stands ready."""
        if not self._frames:
            raise HostAway("talk", "the program ended with status 0")
        frame = self._frames.pop()
        if len(frame) > limit_bytes:
            raise LimitExceeded(f"a frame of {len(frame)} bytes", f"{limit_bytes} bytes")
        self.bytes_received += len(frame)
        return frame

    def close(self) -> None:
        """From now on it is not alive."""
        self.is_alive = False
