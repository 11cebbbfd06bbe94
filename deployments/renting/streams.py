"""Server-sent events, read bit by bit: bounded, whatever the other side sends. Pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.errors import LimitExceeded

MAX_EVENT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `id` is what a stream is taken up behind."""

    kind: str
    data: str
    id: str = ""


class EventReader:
    """Turns chunks of bytes into events; a half event at the end of a stream is none."""

    def __init__(self) -> None:
        self._rest = b""
        self._kind = ""
        self._id = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that this chunk completes; LimitExceeded for one over a MiB."""
        parts = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = parts.pop()
        if len(self._rest) > MAX_EVENT_BYTES:
            raise LimitExceeded("an event of the market", "1 MiB")
        for part in parts:
            found = self._line(part.removesuffix(b"\r").decode("utf-8", "replace"))
            if found is not None:
                yield found

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._ended()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._size += len(value) + 1
            if self._size > MAX_EVENT_BYTES:
                raise LimitExceeded("an event of the market", "1 MiB")
            self._data.append(value)
        elif name == "event":
            self._kind = value[:100]
        elif (
            name == "id"
            and "\0" not in value
            and len(value) <= 100
            and value.isascii()
            and value.isprintable()
        ):
            self._id = value
        return None

    def _ended(self) -> Event | None:
        data, kind = self._data, self._kind
        self._data, self._kind, self._size = [], "", 0
        return Event(kind or "message", "\n".join(data), self._id) if data else None
