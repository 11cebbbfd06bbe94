"""What a refusal costs a miner's agent, from the connection to the last byte of the answer."""

from __future__ import annotations

import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from tasks.edges import wire
from tasks.edges.pins import pinning_context
from tasks.edges.shell import EpochKey
from tasks.edges.signing import Asked, Signer, sign_request
from tests.bench.door import MINER, STRANGER, VALIDATOR
from tests.bench.measure import RUNS
from tests.bench.rows import MS, Group, Row

KNOCKS = 200
CODES = {
    "replayed": "AUTH_REPLAYED",
    "altered": "AUTH_BAD_SIGNATURE",
    "misaddressed": "AUTH_RECEIVER",
    "unsigned": "AUTH_VERSION",
    "expired": "AUTH_STALE",
    "future": "AUTH_FUTURE",
    "oversized": "TOO_LARGE",
    "unknown_hotkey": "NOT_ADMITTED",
}


def knocks(at_ns: int) -> Mapping[str, bytes]:
    """The raw requests of each kind, for a door whose time is this."""
    line, until_s = EpochKey.generate().public_line, at_ns // 10**9 + 900
    body = wire.KeyRequest(epoch=7, public_key=line, expires_at=until_s).model_dump_json().encode()
    good = _signed(VALIDATOR, body, at_ns)
    return {
        "replayed": good,
        "altered": _signed(VALIDATOR, body, at_ns + 1).replace(b'"epoch":7', b'"epoch":8'),
        "misaddressed": _signed(VALIDATOR, body, at_ns, receiver=STRANGER),
        "unsigned": _raw({}, body),
        "expired": _signed(VALIDATOR, body, at_ns - 60 * 10**9),
        "future": _signed(VALIDATOR, body, at_ns + 60 * 10**9),
        # Refused by its header: the body would only be in the way of the answer.
        "oversized": _signed(VALIDATOR, b" " * (wire.MAX_REQUEST_BYTES + 1), at_ns).rstrip(b" "),
        "unknown_hotkey": _signed(STRANGER, body, at_ns),
    }


def _signed(signer: Signer, body: bytes, nonce_ns: int, receiver: Signer = MINER) -> bytes:
    asked = Asked("POST", wire.PATH.encode(), body, nonce_ns, signer.ss58_address, receiver.ss58_address)
    return _raw(sign_request(signer, asked=asked), body)


def _raw(headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"POST {wire.PATH} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in headers.items())]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Door:
    """A door's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked: IO[str] = process.stdin
        self._told: IO[str] = process.stdout
        self.port = int(self._told.readline())

    def cpu_s(self) -> float:
        """What it has spent so far."""
        self._asked.write("\n")
        self._asked.flush()
        return float(self._told.readline())

    def knock(self, request: bytes, tls: ssl.SSLContext | None = None) -> bytes:
        """The whole answer, on a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                link = plain if tls is None else tls.wrap_socket(plain)
                link.sendall(request)
                return b"".join(iter(lambda: link.recv(65_536), b""))
            except ConnectionError:
                return b""

    def cost_ms(self, request: bytes, code: str, tls: ssl.SSLContext | None = None) -> float:
        """CPU milliseconds of one knock, the mean of many; RuntimeError when one is answered otherwise."""
        before_s = self.cpu_s()
        answers = [self.knock(request, tls) for _ in range(KNOCKS)]
        spent_s = self.cpu_s() - before_s
        for answer in answers:
            if code.encode() not in answer:
                raise RuntimeError(f"wanted {code}, got {answer[-200:]!r}")
        return spent_s * MS / KNOCKS


@contextmanager
def door(folder: str, at_ns: int, *more: str) -> Iterator[Door]:
    """Until the end of the block."""
    command = [sys.executable, "-m", "tests.bench.door", folder, str(at_ns), *more]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        made = Door(process)
        try:
            yield made
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _refusals() -> Iterator[Row]:
    at_ns = time.time_ns()
    asked = knocks(at_ns)
    with (
        tempfile.TemporaryDirectory() as folder,
        door(folder, at_ns) as ours,
        door(folder, at_ns, "--bare") as bare,
    ):
        ours.knock(asked["replayed"])
        costs: dict[str, list[float]] = {kind: [] for kind in asked}
        floors, by_tls, tls = [], [], pinning_context()
        for turn in range(RUNS + 1):
            for kind, request in asked.items():
                cost_ms = ours.cost_ms(request, CODES[kind])
                if turn:
                    costs[kind].append(cost_ms)
            tls_ms = ours.cost_ms(asked["unknown_hotkey"], "NOT_ADMITTED", tls)
            floor_ms = bare.cost_ms(asked["unsigned"], "401")
            if turn:
                floors.append(floor_ms)
                by_tls.append(tls_ms)
    each = {kind: statistics.median(found) for kind, found in costs.items()}
    told = ", ".join(f"{kind.replace('_', ' ')} {cost_ms:.2f}" for kind, cost_ms in each.items())
    dearest = max(each, key=lambda kind: each[kind])
    note = (
        f"the agent's process, connection and HTTP in, the dearest kind ({dearest.replace('_', ' ')}), "
        f"{KNOCKS} knocks a run; {told}; floor: an asyncio server that reads a header and answers 401"
    )
    floor = statistics.median(floors)
    yield Row("agent_refusal_cpu", each[dearest], "ms", floor, RUNS, note)
    note = (
        f"the same by TLS, handshake in, unknown hotkey, {KNOCKS} knocks a run; floor: as there, without TLS"
    )
    yield Row("agent_refusal_tls_cpu", statistics.median(by_tls), "ms", floor, RUNS, note)


GROUPS = (Group(("agent_refusal_cpu", "agent_refusal_tls_cpu"), _refusals),)
