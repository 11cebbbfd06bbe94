"""The renter's own way into a container, tried: TCP, SSH banner, the pinned host key, a login and one command.

    knock(place, key, deadline=...) -> what `nvidia-smi` lists over there

Whoever answers is hostile: it is bounded in time, bytes and memory as every SSH session of ours (`tasks/edges/shell.py`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tasks.edges.bounded import BoundedTransport, Bounds
from tasks.edges.shell import EpochKey, connect
from tasks.errors import BadAnswer, HostAway

COMMAND = "nvidia-smi --query-gpu=uuid --format=csv,noheader"
LIMIT_BYTES = 64 * 1024
PAUSE_S = 0.05
PATIENT = frozenset({"connect", "handshake", "auth"})
"""Phases that fail while a container comes up: its server is not there yet, or has not read its keys."""
_UUID = re.compile(r"(GPU|MIG)-[A-Za-z0-9-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container's SSH server is, and which key it has."""

    address: str
    port: int
    host_key: bytes
    """In SSH's wire form, 51 bytes."""
    user: str = "root"
    bounds: Bounds = field(default_factory=Bounds)


def knock(
    place: Place,
    key: EpochKey,
    *,
    deadline: float,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[str, ...]:
    """The UUIDs of the cards that a renter sees who logs in, by this instant of `time.monotonic()`.

    While nobody answers, or the server does not know the key yet, it is tried again. Errors: HostAway, HostKeyMismatch,
    LimitExceeded, BadAnswer.
    """
    while True:
        try:
            return _log_in(place, key, deadline)
        except HostAway as error:
            if error.phase not in PATIENT or time.monotonic() + PAUSE_S > deadline:
                raise
            pause(PAUSE_S)


def _log_in(place: Place, key: EpochKey, deadline: float) -> tuple[str, ...]:
    sock = connect(place.address, place.port, deadline)
    transport = BoundedTransport(sock, place.host_key, place.bounds)
    try:
        transport.shake_hands(deadline)
        transport.authenticate(place.user, key.signer, deadline)
        program = transport.execute(COMMAND, deadline)
        transport.wire.begin("talk", deadline)
        got = bytearray()
        with suppress(EOFError):
            while True:
                got += transport.read(16_384)
                if len(got) > LIMIT_BYTES:
                    raise BadAnswer(f"nvidia-smi printed over {LIMIT_BYTES} bytes")
        if not program.has_ended:
            raise transport.failure()
        status, words = transport.await_status(2.0), program.stderr_tail[-200:]
    finally:
        transport.end()
    return read_listing(bytes(got), status, words)


def read_listing(printed: bytes, status: int | None, words: bytes = b"") -> tuple[str, ...]:
    """The UUIDs in what nvidia-smi printed; BadAnswer when it failed or printed something else."""
    if status != 0:
        said = (words or printed[-200:]).decode("utf-8", "replace")
        raise BadAnswer(f"nvidia-smi ended with {status}, it said {said!r}")
    lines = [line.strip() for line in printed.decode("utf-8", "replace").splitlines() if line.strip()]
    strange = next((line for line in lines if not _UUID.match(line)), None)
    if strange is not None:
        raise BadAnswer(f"nvidia-smi printed {strange[:80]!r}, wanted a card's UUID")
    return tuple(lines)
