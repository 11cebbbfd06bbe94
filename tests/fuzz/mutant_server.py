"""An honest SSH server whose words are changed on their way: run as a program it prints its port and host key.

    python mutant_server.py      -> {"port": ..., "key": <host key, hex>}

Each line on stdin is a plan, as JSON, and counts for one connection, the next. It ends when stdin does.

    {"packets": [[n, what, how], ...]}   the n-th packet that the server sends, before it is encrypted
        drop, twice, late (after the next), cut (to `how` bytes), grow (by `how`), flip (bit `how`), kind (another number),
        word (the 4 bytes at `how` become 2^32 - 1), before (the bytes `how`, in hex, as a packet before it)
    {"bytes": [[n, what, how], ...]}     the n-th byte that the server sends, whatever packet it is in
        flip, drop (`how` bytes), twice (`how` bytes), insert (`how`, in hex), swap (with the `how` bytes after), cut (and hang up),
        stall (and say nothing more)

What is honest here lets everybody in, runs whatever it is told to run, and answers two frames with `ANSWERS`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import paramiko
from paramiko.message import Message

from tests.tasks.edges.hostile import HOST_KEY, Door, Server

ANSWERS = (b"first", b"x" * 40_000)
LIFE_S = 5.0


def main() -> None:
    """Serve until stdin ends."""
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    plans: queue.SimpleQueue[dict[str, list[list[object]]]] = queue.SimpleQueue()
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    threading.Thread(target=_accept, args=(listener, plans), daemon=True).start()
    print(json.dumps({"port": listener.getsockname()[1], "key": HOST_KEY.asbytes().hex()}), flush=True)
    for line in sys.stdin:
        plans.put(json.loads(line))
    os._exit(0)


def _accept(listener: socket.socket, plans: queue.SimpleQueue[dict[str, list[list[object]]]]) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(sock, plans.get()), daemon=True).start()


def _serve(sock: socket.socket, plan: dict[str, list[list[object]]]) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException), sock:
        transport = Mutant(Changing(sock, plan.get("bytes", [])), plan.get("packets", []))
        transport.add_server_key(HOST_KEY)
        transport.start_server(server=Door(sock, _answer))
        transport.join(LIFE_S)


def _answer(channel: paramiko.Channel) -> None:
    """A frame for each of ours."""
    for answer in ANSWERS:
        size = int.from_bytes(_exactly(channel, 4), "big")
        _exactly(channel, size)
        channel.sendall(struct.pack(">I", len(answer)) + answer)
    time.sleep(LIFE_S)


def _exactly(channel: paramiko.Channel, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = channel.recv(size - len(got))
        if not piece:
            raise EOFError
        got += piece
    return got


class Mutant(Server):
    """Changes the packets that its plan names."""

    def __init__(self, sock: Changing, plan: list[list[object]]) -> None:
        super().__init__(sock)
        self._plan = {int(str(n)): (str(what), how) for n, what, how in plan}
        self._sent, self._late = 0, b""

    def _send_message(self, data: Message) -> None:
        packet = data.asbytes()
        what, how = self._plan.get(self._sent, ("", 0))
        self._sent += 1
        if what == "drop":
            return
        if what == "late":
            self._late = packet
            return
        if what == "before":
            super()._send_message(Message(bytes.fromhex(str(how)) or b"\2"))
        super()._send_message(Message(_CHANGES.get(what, _as_it_is)(packet, how)))
        if what == "twice":
            super()._send_message(Message(packet))
        if self._late:
            late, self._late = self._late, b""
            super()._send_message(Message(late))


def _as_it_is(packet: bytes, _: object) -> bytes:
    return packet


def _flip(packet: bytes, how: object) -> bytes:
    at, bit = divmod(int(str(how)) % (8 * len(packet)), 8)
    return packet[:at] + bytes([packet[at] ^ 1 << bit]) + packet[at + 1 :]


def _word(packet: bytes, how: object) -> bytes:
    at = 1 + int(str(how)) % len(packet)
    return packet[:at] + b"\xff\xff\xff\xff" + packet[at + 4 :]


_CHANGES: dict[str, Callable[[bytes, object], bytes]] = {
    "cut": lambda packet, how: packet[: 1 + int(str(how)) % len(packet)],
    "grow": lambda packet, how: packet + bytes(int(str(how))),
    "flip": _flip,
    "kind": lambda packet, how: bytes([int(str(how))]) + packet[1:],
    "word": _word,
}


class Changing:
    """A socket that changes the bytes that its plan names."""

    def __init__(self, sock: socket.socket, plan: list[list[object]]) -> None:
        self._sock = sock
        self._plan = sorted((int(str(n)), str(what), how) for n, what, how in plan)
        self._sent, self._is_stalled = 0, False

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        """All of it, or what the plan makes of it."""
        data, size = bytes(data), len(data)
        changed, is_cut = data, False
        for n, what, how in reversed(self._plan):
            if not self._sent <= n < self._sent + size:
                continue
            at = n - self._sent
            changed = _changed(changed, at, what, how)
            self._is_stalled |= what == "stall"
            is_cut |= what == "cut"
        self._sent += size
        if changed and not (self._is_stalled and changed == data):
            self._sock.sendall(changed)
        if is_cut:
            self._sock.shutdown(socket.SHUT_RDWR)
        return size


def _changed(data: bytes, at: int, what: str, how: object) -> bytes:
    if what == "flip":
        return (
            data[:at] + bytes([data[at] ^ int(str(how)) & 0xFF]) + data[at + 1 :] if at < len(data) else data
        )
    if what == "insert":
        return data[:at] + bytes.fromhex(str(how)) + data[at:]
    if what in {"cut", "stall"}:
        return data[:at]
    size = int(str(how))
    if what == "drop":
        return data[:at] + data[at + size :]
    if what == "twice":
        return data[: at + size] + data[at : at + size] + data[at + size :]
    assert what == "swap", what
    return data[:at] + data[at + size : at + 2 * size] + data[at : at + size] + data[at + 2 * size :]


if __name__ == "__main__":
    main()
