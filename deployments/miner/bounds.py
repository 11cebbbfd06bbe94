"""What a stranger may cost a door before it is proved who knocks: connections, seconds, requests a second."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

# What strangers send is no news: only our own failures are logged, or they would write our log for us.
_log = logging.getLogger("miner.door")
_log.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The door's limits; the defaults suit one miner with some hundred validators."""

    requests_per_s: float = 2.0
    """Sustained, of one address (IPv6: one /64)."""
    burst: int = 20
    hotkey_requests_per_s: float = 2.0
    """Sustained, of one validator, from wherever it comes."""
    hotkey_burst: int = 60
    remembered_addresses: int = 4096
    body_s: float = 5.0
    """For the whole body, however it drips."""
    first_byte_s: float = 5.0
    """From connecting to the first byte, and for a handshake of TLS."""
    connection_s: float = 20.0
    """For everything on one connection: header, body, work and answer."""
    connections: int = 256
    connections_per_address: int = 32
    header_bytes: int = 16 * 1024


class Throttle:
    """A token bucket a name, of which only so many are remembered: the longest silent one is forgotten."""

    def __init__(self, requests_per_s: float, burst: int, remembered: int) -> None:
        self._requests_per_s, self._burst, self._remembered = requests_per_s, burst, remembered
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, name: str, *, now_s: float) -> bool:
        """Whether one more request under this name is within its rate; counts it if so."""
        tokens, at_s = self._buckets.pop(name, (float(self._burst), now_s))
        tokens = min(self._burst, tokens + max(0.0, now_s - at_s) * self._requests_per_s)
        is_allowed = tokens >= 1.0
        self._buckets[name] = (tokens - 1.0 if is_allowed else tokens, now_s)
        if len(self._buckets) > self._remembered:
            self._buckets.popitem(last=False)
        return is_allowed

    def __len__(self) -> int:
        return len(self._buckets)


def network_of(address: str) -> str:
    """What counts as one stranger: an IPv4 address, an IPv6 /64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False).network_address)


class BoundedConnection(H11Protocol):
    """One HTTP connection with an end: uvicorn itself waits for ever for a header that never comes."""

    bounds: ClassVar[Bounds] = Bounds()
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start the clock, or hang up at once when there are too many."""
        super().connection_made(transport)
        self.logger = _log
        if self._is_one_too_many():
            transport.abort()
            return
        self._end = self.loop.call_later(self.bounds.connection_s, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def _is_one_too_many(self) -> bool:
        if len(self.connections) > self.bounds.connections:
            return True
        address = _address(self)
        same = sum(1 for other in self.connections if _address(other) == address)
        return same > self.bounds.connections_per_address


def bounded_connection(bounds: Bounds) -> type[BoundedConnection]:
    """The connection class of a door with these bounds."""
    return type("BoundedConnection", (BoundedConnection,), {"bounds": bounds})


def _address(connection: object) -> str:
    client = getattr(connection, "client", None)
    return network_of(client[0]) if client else "unknown"
