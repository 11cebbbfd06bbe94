"""A bell between two processes of one machine: whoever has asked for a flow run rings, and its pool's worker looks at once.

    with heard(bell_of(api_url, "renting"), event): ...      the worker: the event is set at each ring
    ring(bell_of(api_url, "renting"))                        the marketplace; nobody there is no error

It only saves waiting: each look of a worker is a write transaction of Prefect's server, so that looking often is what
makes it slow. A worker on another machine, or on a system without abstract sockets, looks by its clock. Anybody on the
machine may ring, and all that comes of it is one look.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_log = logging.getLogger("subnet.worker")


def bell_of(api_url: str, pool: str) -> str:
    """The bell of a work pool of this Prefect server: a name in Linux's abstract namespace, no file."""
    digest = hashlib.sha256(f"{api_url.rstrip('/')}\n{pool}".encode()).hexdigest()
    return f"\0subnet-bell-{digest[:32]}"


def ring(bell: str) -> None:
    """Ring once; never waits and never fails."""
    if sys.platform != "linux":
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        sender.sendto(b"", bell)


@contextmanager
def heard(bell: str, rung: asyncio.Event) -> Iterator[None]:
    """Set the event at each ring until the block ends; in a running loop. Of several who listen, the first one hears it."""
    if sys.platform != "linux":
        yield
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(0)
        try:
            receiver.bind(bell)
        except OSError as error:
            _log.info("another worker hears the bell of this pool: %s", error)
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(receiver, _take, receiver, rung)
        try:
            yield
        finally:
            loop.remove_reader(receiver)


def _take(receiver: socket.socket, rung: asyncio.Event) -> None:
    with suppress(OSError):
        while True:
            receiver.recv(1)
            rung.set()
