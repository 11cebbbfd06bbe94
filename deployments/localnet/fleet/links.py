"""The way to a machine: a round trip and a line of so many Mbit/s, put in below asyncssh on the stream of bytes.

Each chunk is held for half the round trip in its direction, and paced by the line. A new connection costs what TCP's
own handshake would: the machine sees it one and a half round trips late, so that its banner comes after two. What
is not here is slow start and loss: the rig with real OpenSSH servers (`hosts.py`) has the kernel's own.

The clock ticks every two milliseconds for all links together: a timer for each chunk would cost as much as the SSH
that it stands for. A whole way is at most a tick off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

TICK_S = 0.002
HELD_BYTES = 1 << 20
"""Of one direction on its way: above it the kernel's buffers fill, and the other side waits as on a real line."""
HANDSHAKE_TRIPS = 1.5
_MBIT_BYTES = 125_000.0


class Wheel:
    """Runs callbacks at the ticks of one clock, those of a tick in the order in which they were given."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[int, list[tuple[Callable[..., object], tuple[object, ...]]]] = {}
        self._last = int(loop.time() / TICK_S)
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """The loop's clock, in seconds."""
        return self._loop.time()

    def at(self, instant: float, call: Callable[..., object], *arguments: object) -> None:
        """Call at the tick nearest to this instant of the loop's clock, at once when it has passed."""
        tick = max(self._last + 1, round(instant / TICK_S))
        self._due.setdefault(tick, []).append((call, arguments))
        if self._timer is None:
            self._timer = self._loop.call_at(tick * TICK_S, self._turn)
        elif tick * TICK_S < self._timer.when() - TICK_S / 2:
            self._timer.cancel()
            self._timer = self._loop.call_at(tick * TICK_S, self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = int(self._loop.time() / TICK_S + 0.5)
        ready = sorted(tick for tick in self._due if tick <= now)
        self._last = max(self._last, now)
        for tick in ready:
            for call, arguments in self._due.pop(tick):
                call(*arguments)
        if self._due and self._timer is None:
            self._timer = self._loop.call_at(min(self._due) * TICK_S, self._turn)


@dataclass(frozen=True, slots=True)
class Way:
    """How far a machine is, and how wide its line."""

    rtt_s: float
    bytes_per_s: float | None
    """Each way; None: unbounded."""

    @classmethod
    def of(cls, rtt_ms: float, mbit_s: float | None) -> Way:
        """From the units that people use."""
        return cls(rtt_ms / 1e3, None if mbit_s is None else mbit_s * _MBIT_BYTES)


class Listener(Protocol):
    """What asyncssh wants of a server that it listens through."""

    def close(self) -> None:
        """Accept no more."""

    async def wait_closed(self) -> None:
        """Until that is so."""


class Far:
    """A place that asyncssh listens at as through a tunnel, where every connection has come a long way."""

    def __init__(self, way: Way, wheel: Wheel) -> None:
        self._way, self._wheel = way, wheel

    async def create_server(
        self, factory: Callable[[str, int], asyncio.Protocol], host: str, port: int
    ) -> asyncio.AbstractServer:
        """Listen; each connection that comes gets a protocol from the factory, at the end of its way."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Link(factory("", 0), self._way, self._wheel), host, port)


class Link(asyncio.Protocol):
    """One connection's way: to the socket it is the protocol, to the far protocol it is the transport."""

    def __init__(self, far: asyncio.Protocol, way: Way, wheel: Wheel) -> None:
        self._far, self._wheel = far, wheel
        self._half_s, self._byte_s = way.rtt_s / 2, 1.0 / way.bytes_per_s if way.bytes_per_s else 0.0
        self._handshake_s = HANDSHAKE_TRIPS * way.rtt_s
        self._near: asyncio.Transport | None = None
        self._is_over = False
        self._arrives_at = self._leaves_at = 0.0
        """When the newest bytes of each direction are through."""
        self._held_bytes = 0

    # --- towards the socket ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The near end is there; the far end hears of it when its handshake would be over."""
        self._near = cast("asyncio.Transport", transport)
        self._arrives_at = self._leaves_at = self._wheel.now() + self._handshake_s
        self._wheel.at(self._arrives_at, self._made)

    def data_received(self, data: bytes) -> None:
        """Bytes set out from the near end."""
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES and self._near is not None:
            self._near.pause_reading()
        now = self._wheel.now()
        # The handshake's last packet and the first bytes travel together: `_arrives_at` holds them back until then.
        self._arrives_at = max(self._arrives_at, now + self._half_s) + len(data) * self._byte_s
        self._wheel.at(self._arrives_at, self._arrive, data)

    def eof_received(self) -> bool:
        """The near end writes no more; the socket stays open until the far end has heard of it."""
        self._wheel.at(max(self._arrives_at, self._wheel.now() + self._half_s), self._end, None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The near end is gone."""
        self._near = None
        self._wheel.at(max(self._arrives_at, self._wheel.now() + self._half_s), self._end, exc)

    # --- towards the far protocol ---

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the socket."""
        return default if self._near is None else self._near.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether the connection is ending."""
        return self._near is None or self._near.is_closing()

    def write(self, data: bytes) -> None:
        """Bytes set out from the far end."""
        now = self._wheel.now()
        self._leaves_at = max(self._leaves_at, now + self._half_s) + len(data) * self._byte_s
        self._wheel.at(self._leaves_at, self._leave, bytes(data))

    def close(self) -> None:
        """The far end hangs up; what it has sent before still comes."""
        self._wheel.at(max(self._leaves_at, self._wheel.now() + self._half_s), self._hang_up)

    def abort(self) -> None:
        """The same: no bytes that are on their way are lost by it."""
        self.close()

    def pause_reading(self) -> None:
        """The far end reads no more for now."""
        if self._near is not None:
            self._near.pause_reading()

    def resume_reading(self) -> None:
        """It reads again."""
        if self._near is not None:
            self._near.resume_reading()

    # --- at the ticks ---

    def _made(self) -> None:
        if not self._is_over:
            self._far.connection_made(cast("asyncio.BaseTransport", self))

    def _arrive(self, data: bytes) -> None:
        was_full = self._held_bytes > HELD_BYTES
        self._held_bytes -= len(data)
        if was_full and self._held_bytes <= HELD_BYTES:
            self.resume_reading()
        if not self._is_over:
            self._far.data_received(data)

    def _leave(self, data: bytes) -> None:
        if self._near is not None:
            self._near.write(data)

    def _hang_up(self) -> None:
        if self._near is not None:
            self._near.close()

    def _end(self, exc: Exception | None) -> None:
        if not self._is_over:
            self._is_over = True
            self._far.connection_lost(exc)
            self._hang_up()
