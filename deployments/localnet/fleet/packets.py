"""The way between this computer and the fleet's hosts: TUN devices, and a loop that holds each packet half a round trip.

    fleet0 (ours, 198.51.100.1)  <->  the loop  <->  eth0 of each host, in a network namespace of its own

There is no netem in every kernel, and this needs none: handshakes, slow start, delayed acknowledgements and
retransmission are the kernel's own on both sides. A packet costs some 20 us of a core each way.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import select
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

NETWORKS = ("198.51.100", "203.0.113")
"""Of 256 addresses each, set aside for documentation (RFC 5737): nobody's."""
GATEWAY = f"{NETWORKS[0]}.1"
HOSTS_EACH = 250
OURS = "fleet0"
MTU = 1_500
READS_AT_ONCE = 64
"""Packets of one device before the others have a turn."""
HELD_PACKETS = 100_000
"""On their way at once: above it new ones are lost, as in any queue."""
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_SOURCE, _DESTINATION, _LEAST = slice(12, 16), slice(16, 20), 20
_IPV4 = 4


def open_tun(name: str) -> int:
    """A TUN device in the present network namespace, gone when the descriptor is closed; OSError without root."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def enter_new_network() -> None:
    """Move this thread into a network namespace of its own, which lives as long as somebody is in it; OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def address_of(number: int) -> str:
    """The address of the host of this number, from 0."""
    return f"{NETWORKS[number // HOSTS_EACH]}.{number % HOSTS_EACH + 2}"


def packed(address: str) -> bytes:
    """An IPv4 address in four bytes."""
    return bytes(int(part) for part in address.split("."))


@dataclass(frozen=True, slots=True)
class Host:
    """Where a host's packets go, and how far that is."""

    descriptor: int
    half_s: float


class Held:
    """Packets on their way: each comes out after its time, those of one host in their order."""

    def __init__(self, hosts: Mapping[bytes, Host], ours: int, most: int = HELD_PACKETS) -> None:
        self._hosts, self._ours, self._most = hosts, ours, most
        self._on_way: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    def put(self, packet: bytes, now: float) -> None:
        """Take a packet up; what is no IPv4 of or for a host is dropped."""
        if len(packet) < _LEAST or packet[0] >> 4 != _IPV4 or len(self._on_way) >= self._most:
            return
        to = self._hosts.get(packet[_DESTINATION])
        from_ = None if to is not None else self._hosts.get(packet[_SOURCE])
        way = to or from_
        if way is None:
            return
        self._count += 1
        descriptor = way.descriptor if to is not None else self._ours
        heapq.heappush(self._on_way, (now + way.half_s, self._count, descriptor, packet))

    def due(self, now: float) -> Iterator[tuple[int, bytes]]:
        """The packets whose time has come, and the descriptors that they go to."""
        while self._on_way and self._on_way[0][0] <= now:
            _, _, descriptor, packet = heapq.heappop(self._on_way)
            yield descriptor, packet

    def wait_s(self, now: float) -> float | None:
        """Until the next one is due; None when there is none."""
        return max(0.0, self._on_way[0][0] - now) if self._on_way else None


def carry(
    hosts: Mapping[bytes, Host],
    ours: int,
    is_over: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Carry packets until it is over, which is asked every second at least."""
    held, poll = Held(hosts, ours), select.epoll()
    try:
        for descriptor in (ours, *(host.descriptor for host in hosts.values())):
            poll.register(descriptor, select.EPOLLIN)
        while not is_over():
            wait_s = held.wait_s(clock())
            for descriptor, _ in poll.poll(1.0 if wait_s is None else min(1.0, wait_s)):
                for packet in _read(descriptor):
                    held.put(packet, clock())
            for descriptor, packet in held.due(clock()):
                _write(descriptor, packet)
    finally:
        poll.close()


def _read(descriptor: int) -> Iterator[bytes]:
    for _ in range(READS_AT_ONCE):
        try:
            yield os.read(descriptor, MTU + 100)
        except OSError:  # nothing more, or the device is down
            return


def _write(descriptor: int, packet: bytes) -> None:
    try:
        os.write(descriptor, packet)
    except OSError:
        return  # the queue is full or the device is down: a lost packet, as on any link
