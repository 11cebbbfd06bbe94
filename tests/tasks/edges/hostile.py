"""Hostile SSH servers, one behaviour each: run as a program it serves all of them and prints their ports as JSON.

    python hostile.py <authorized public key line>
        -> {"key": <host key, hex>, "ports": {name: port, ...}}

It ends when its stdin does. `BEHAVIOURS` says of each what an honest client should make of it.
"""

# ruff: noqa: ARG002, ARG005, FBT003

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import logging
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from typing import ClassVar

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko import common
from paramiko.auth_handler import AuthHandler
from paramiko.message import Message

BANNER = b"SSH-2.0-OpenSSH_9.6\r\n"
FLOOD_S = 20.0
DEADLINE = "no answer by its deadline"
CODES = {
    "HostKeyMismatch": "HOST_KEY_MISMATCH",
    "LimitExceeded": "HOST_LIMIT_EXCEEDED",
    "BadAnswer": "HOST_BAD_ANSWER",
}
"""What each error of a session becomes in the report on the machine; `HostAway` is two, see `Behaviour.code`."""
_SO_ATTACH_FILTER = 26


@dataclass(frozen=True)
class Behaviour:
    """What a server does, in words, and what the client is to raise: the name of an error and a part of its text."""

    name: str
    serve: Callable[[socket.socket], None]
    error: str
    says: str
    may_last: bool = False
    """A flood of small packets: where its server gets little CPU, the deadline comes before the budget's end."""
    visited: str = ""
    """The code of the reason that a whole visit to it ends with, where it does not follow from the error."""

    @property
    def code(self) -> str:
        """The code of the reason that a whole visit to it ends with."""
        if self.visited or self.error != "HostAway":
            return self.visited or CODES[self.error]
        return "HOST_TIMEOUT" if self.says == DEADLINE else "HOST_UNREACHABLE"


def main() -> None:
    """Serve every behaviour on a port of its own until stdin ends."""
    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else each refusal is told on stderr
    ports = {}
    for behaviour in BEHAVIOURS:
        listener = socket.create_server(("127.0.0.1", 0), backlog=8)
        ports[behaviour.name] = listener.getsockname()[1]
        threading.Thread(target=_accept, args=(listener, behaviour), daemon=True).start()
    # Bound and never listened on: nobody else can take the port meanwhile.
    unheard = socket.socket()
    unheard.bind(("127.0.0.1", 0))
    ports[REFUSING.name] = unheard.getsockname()[1]
    print(json.dumps({"key": HOST_KEY.asbytes().hex(), "ports": ports}), flush=True)
    sys.stdin.read()
    os._exit(0)


def _accept(listener: socket.socket, behaviour: Behaviour) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(sock, behaviour), daemon=True).start()


def _serve(sock: socket.socket, behaviour: Behaviour) -> None:
    # paramiko's server raises whatever a client that hangs up amid its handshake has it run into.
    with contextlib.suppress(Exception), sock:
        behaviour.serve(sock)


def _private_key() -> paramiko.Ed25519Key:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return paramiko.Ed25519Key(file_obj=StringIO(pem.decode()))


HOST_KEY = _private_key()


# --- without any cryptography ----------------------------------------------------------------------


def _hold(_: socket.socket) -> None:
    time.sleep(FLOOD_S)


def _flood(sock: socket.socket, piece: bytes) -> None:
    end = time.monotonic() + FLOOD_S
    while time.monotonic() < end:
        sock.sendall(piece)


def _drip(sock: socket.socket, data: bytes, gap_s: float = 0.05) -> None:
    for byte in data:
        sock.sendall(bytes([byte]))
        time.sleep(gap_s)


def _packet(payload: bytes) -> bytes:
    padding = 8 - (len(payload) + 5) % 8 + 8
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


def silent(sock: socket.socket) -> None:
    _hold(sock)


def closing(sock: socket.socket) -> None:
    sock.recv(1)


def resetting(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def banner_dripped(sock: socket.socket) -> None:
    _drip(sock, b"SSH-2.0-" + b"x" * 200, 0.1)


def banner_lines_slow(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"please hold the line\r\n")
        time.sleep(0.5)


def banner_lines_fast(sock: socket.socket) -> None:
    _flood(sock, b"a\n" * 10_000)


def banner_endless(sock: socket.socket) -> None:
    _flood(sock, b"x" * 65_536)


def banner_of_a_megabyte(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-" + b"x" * 1_000_000 + b"\r\n")
    _hold(sock)


def banner_and_gone(sock: socket.socket) -> None:
    sock.sendall(BANNER)
    sock.recv(1)


def urgent(sock: socket.socket) -> None:
    """Out-of-band bytes, which wake some who wait and are read by nobody."""
    for _ in range(100):
        sock.send(b"!", socket.MSG_OOB)
        time.sleep(0.03)
    _hold(sock)


def banner_only(sock: socket.socket) -> None:
    sock.sendall(BANNER)
    _hold(sock)


def banner_of_ssh_1(sock: socket.socket) -> None:
    sock.sendall(b"SSH-1.5-old\r\n")
    _hold(sock)


def web_server(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def noise(sock: socket.socket) -> None:
    _flood(sock, os.urandom(65_536).replace(b"\n", b""))


def packet_huge(sock: socket.socket) -> None:
    sock.sendall(BANNER + struct.pack(">I", 2**32 - 12))
    _flood(sock, bytes(65_536))


def packet_huge_dripped(sock: socket.socket) -> None:
    sock.sendall(BANNER)
    _drip(sock, struct.pack(">I", 2**32 - 12) + bytes(1_000), 0.02)


def packet_of_nothing(sock: socket.socket) -> None:
    sock.sendall(BANNER)
    _flood(sock, bytes(65_536))


def packet_dripped(sock: socket.socket) -> None:
    sock.sendall(BANNER)
    _drip(sock, _packet(bytes([common.MSG_KEXINIT]) + bytes(30_000)), 0.001)


def ignore_flood_before_kex(sock: socket.socket) -> None:
    sock.sendall(BANNER)
    _flood(sock, _packet(bytes([common.MSG_IGNORE]) + bytes(4)) * 1_000)


def ignore_slow_before_kex(sock: socket.socket) -> None:
    sock.sendall(BANNER)
    while True:
        sock.sendall(_packet(bytes([common.MSG_IGNORE]) + bytes(4)))
        time.sleep(0.3)


def _kexinit(names: bytes) -> bytes:
    """A KEXINIT that offers these key exchanges, and nothing else of anything."""
    lists = struct.pack(">I", len(names)) + names + bytes(4) * 9
    return _packet(bytes([common.MSG_KEXINIT]) + bytes(16) + lists + bytes(5))


def kexinit_of_many_names(sock: socket.socket) -> None:
    sock.sendall(BANNER + _kexinit(b",".join([b"ext-info-s"] * 3_000)))
    _hold(sock)


def kexinit_of_groups_to_choose(sock: socket.socket) -> None:
    """Whoever takes part computes in a group that the server chooses: 2 s for one of 8,192 bits."""
    sock.sendall(BANNER + _kexinit(b"diffie-hellman-group-exchange-sha256"))
    _hold(sock)


def newkeys_before_any(sock: socket.socket) -> None:
    sock.sendall(BANNER + _packet(bytes([common.MSG_NEWKEYS])))
    _hold(sock)


def padding_beyond_the_packet(sock: socket.socket) -> None:
    sock.sendall(BANNER + struct.pack(">IB", 12, 255) + bytes(4_000))
    _hold(sock)


# --- on paramiko's own server ----------------------------------------------------------------------


class Door(paramiko.ServerInterface):
    """Lets everybody in, and hands the command's channel to the behaviour."""

    def __init__(
        self, sock: socket.socket, act: Callable[[paramiko.Channel], None] | None = None, *, refuses: str = ""
    ) -> None:
        self._sock, self._act, self._refuses = sock, act, refuses

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,keyboard-interactive"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if self._refuses == "slowly":
            time.sleep(1.2)
        verdicts = {"key": paramiko.AUTH_FAILED, "half": paramiko.AUTH_PARTIALLY_SUCCESSFUL}
        return verdicts.get(self._refuses, paramiko.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self._refuses == "silently":
            time.sleep(FLOOD_S)
        if self._refuses == "by dropping the channel":
            _drop(self._sock)
        refused = paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        return refused if self._refuses == "channel" else paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if self._refuses == "exec silently":
            time.sleep(FLOOD_S)
        if self._refuses == "by dropping the command":
            _drop(self._sock)
        if self._refuses == "exec":
            return False
        if self._act is not None:
            threading.Thread(target=self._run, args=(channel,), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel) -> None:
        time.sleep(0.15)  # the reply to the exec request goes first
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            assert self._act is not None
            self._act(channel)


class Server(paramiko.Transport):
    """paramiko's server side with an authentication that can be replaced."""

    auth_class: type[AuthHandler] = AuthHandler
    # paramiko's own closes a channel whose request we refuse: a flood would end by itself where our answers are quick.
    _channel_handler_table: ClassVar = {
        **paramiko.Transport._channel_handler_table,
        common.MSG_CHANNEL_FAILURE: lambda _channel, _message: None,
    }

    def _parse_newkeys(self, message: Message) -> None:
        self.auth_handler = self.auth_class(self)
        super()._parse_newkeys(message)


def _ssh(
    act: Callable[[paramiko.Channel], None] | None = None,
    *,
    refuses: str = "",
    server: type[Server] = Server,
    key: paramiko.PKey | None = None,
    **options: tuple[str, ...],
) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        transport = server(sock)
        transport.add_server_key(key or HOST_KEY)
        for name, value in options.items():
            setattr(transport, f"_preferred_{name}", value)
        transport.start_server(server=Door(sock, act, refuses=refuses))
        transport.join(FLOOD_S)

    return serve


def _drop(sock: socket.socket) -> None:
    """Hang up, now."""
    sock.shutdown(socket.SHUT_RDWR)


def _freeze(sock: socket.socket) -> None:
    """The link is gone: from now on the kernel drops, unacknowledged, whatever comes on this connection."""
    drop_all = (ctypes.c_char * 8).from_buffer_copy(struct.pack("HBBI", 6, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(drop_all))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


class Dripping:
    """A socket that lets out a few bytes at a time."""

    def __init__(self, sock: socket.socket, size: int = 8, gap_s: float = 0.02) -> None:
        self._sock, self._size, self._gap_s = sock, size, gap_s

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        """A few bytes, after a while."""
        time.sleep(self._gap_s)
        return self._sock.send(data[: self._size])


def dripping(sock: socket.socket) -> None:
    """An honest server that is never done with its handshake."""
    transport = Server(Dripping(sock))
    transport.add_server_key(HOST_KEY)
    transport.start_server(server=Door(sock))
    transport.join(FLOOD_S)


def _changing_its_key() -> Callable[[socket.socket], None]:
    """Hangs up on who comes first, and shows another host key to who comes again."""
    visits, later = iter(range(1 << 30)), _ssh(key=_private_key())
    return lambda sock: later(sock) if next(visits) else closing(sock)


class Forger(paramiko.Ed25519Key):
    """Shows the announced key and has not got it: what it signs is signed by another."""

    def __init__(self) -> None:
        self._other = _private_key()

    def asbytes(self) -> bytes:
        return HOST_KEY.asbytes()

    def get_name(self) -> str:
        return "ssh-ed25519"

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> Message:
        return self._other.sign_ssh_data(data, algorithm)


def _message(kind: int, *parts: bytes | int | str | bool) -> Message:
    message = Message()
    message.add_byte(bytes([kind]))
    for part in parts:
        if isinstance(part, bool):
            message.add_boolean(part)
        elif isinstance(part, int):
            message.add_int(part)
        else:
            message.add_string(part)
    return message


def _send_for_long(transport: paramiko.Transport, message: Message) -> None:
    end = time.monotonic() + FLOOD_S
    while time.monotonic() < end and transport.is_active():
        transport._send_message(message)


class DropsInKex(Server):
    """Hangs up when it has the client's half of the key exchange."""

    def _negotiate_keys(self, message: Message) -> None:
        _drop(self.sock)


class FreezesInKex(Server):
    """Its link goes in the key exchange."""

    def _negotiate_keys(self, message: Message) -> None:
        _freeze(self.sock)
        time.sleep(FLOOD_S)


class SmallWindow(Server):
    """Lets 32 KiB come in, and no more."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, default_window_size=32_768)


class NoKexReply(Server):
    """Never answers the key exchange."""

    def _negotiate_keys(self, message: Message) -> None:
        self._parse_kex_init(message)
        self._expect_packet(30)
        time.sleep(FLOOD_S)


class ExtInfoBeforeLogin(Server):
    """Announces 2^32 - 1 extensions and sends none."""

    def _parse_newkeys(self, message: Message) -> None:
        super()._parse_newkeys(message)
        self._send_message(_message(common.MSG_EXT_INFO, 2**32 - 1))


def _auth(name: str, **handlers: Callable[..., None]) -> type[Server]:
    return type(name, (Server,), {"auth_class": type(name, (AuthHandler,), handlers)})


def _stay_silent(_: AuthHandler, __: object) -> None:
    return


def _flood_banners(auth: AuthHandler, _: object) -> None:
    _send_for_long(auth.transport, _message(common.MSG_USERAUTH_BANNER, "hello " * 1_000, "en"))


def _flood_accepts(auth: AuthHandler, _: object) -> None:
    _send_for_long(auth.transport, _message(common.MSG_SERVICE_ACCEPT, "ssh-userauth"))


def _ask_for_passwords(auth: AuthHandler, _: object) -> None:
    prompt = _message(common.MSG_USERAUTH_INFO_REQUEST, "name", "please", "", 1, "Password:", False)
    auth.transport._send_message(prompt)
    time.sleep(FLOOD_S)


def _ask_for_ever(auth: AuthHandler, _: object) -> None:
    prompt = _message(common.MSG_USERAUTH_INFO_REQUEST, "name", "please", "", 1, "Password:", False)
    _send_for_long(auth.transport, prompt)


def _hang_up(auth: AuthHandler, _: object) -> None:
    _drop(auth.transport.sock)


def _say_yes_before_asked(auth: AuthHandler, _: object) -> None:
    for _ in range(50):
        auth.transport._send_message(_message(common.MSG_USERAUTH_SUCCESS))
    time.sleep(FLOOD_S)


def raw(
    kind: int, *parts: bytes | int | str | bool, of_channel: bool = False
) -> Callable[[paramiko.Channel], None]:
    """Flood the client with one message; `of_channel` puts the channel's number first."""

    def act(channel: paramiko.Channel) -> None:
        number = (channel.remote_chanid,) if of_channel else ()
        _send_for_long(channel.get_transport(), _message(kind, *number, *parts))

    return act


def raw_unread(
    kind: int, *parts: bytes | int | str | bool, of_channel: bool = False
) -> Callable[[paramiko.Channel], None]:
    """The same, and what we answer is never taken from the socket."""

    def act(channel: paramiko.Channel) -> None:
        channel.get_transport().packetizer.read_all = lambda n, check_rekey=False: time.sleep(FLOOD_S) or b""
        raw(kind, *parts, of_channel=of_channel)(channel)

    return act


def once(kind: int, *parts: bytes | int | str | bool) -> Callable[[paramiko.Channel], None]:
    def act(channel: paramiko.Channel) -> None:
        channel.get_transport()._send_message(_message(kind, *parts))
        time.sleep(FLOOD_S)

    return act


def endless_stdout(channel: paramiko.Channel) -> None:
    channel.sendall(struct.pack(">I", 1_000_000_000))
    while True:
        channel.sendall(bytes(32_768))


def output_dripped(channel: paramiko.Channel) -> None:
    """A large packet as it should be, a byte of it at a time."""
    packetizer = channel.get_transport().packetizer
    packetizer._Packetizer__socket = Dripping(packetizer._Packetizer__socket, size=1, gap_s=0.001)
    channel.sendall(struct.pack(">I", 32_000) + bytes(32_000))


def endless_frames(channel: paramiko.Channel) -> None:
    while True:
        channel.sendall((struct.pack(">I", 0)) * 8_000)


def endless_stderr(channel: paramiko.Channel) -> None:
    while True:
        channel.sendall_stderr(bytes(32_768))


def stdout_dripped(channel: paramiko.Channel) -> None:
    channel.sendall(struct.pack(">I", 1_000))
    while True:
        channel.sendall(b"x")
        time.sleep(0.1)


def one_line(channel: paramiko.Channel) -> None:
    """A line that has no end, and no frame in it."""
    while True:
        channel.sendall(b"x" * 32_768)


def a_greeting(channel: paramiko.Channel) -> None:
    channel.sendall(b"Welcome to rack 7!\n")
    time.sleep(FLOOD_S)


def freezes(channel: paramiko.Channel) -> None:
    """The link goes in the middle of a frame: no end, no reset, no acknowledgement."""
    channel.sendall(struct.pack(">I", 100) + b"half")
    time.sleep(0.1)
    _freeze(channel.get_transport().sock)
    time.sleep(FLOOD_S)


def resets(channel: paramiko.Channel) -> None:
    channel.get_transport().sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    channel.get_transport().sock.close()


def noise_as_ciphertext(channel: paramiko.Channel) -> None:
    """A packet of a right length that no key of ours made."""
    channel.get_transport().sock.sendall(struct.pack(">I", 32) + os.urandom(64))
    time.sleep(FLOOD_S)


def closes_and_goes_on(channel: paramiko.Channel) -> None:
    transport, number = channel.get_transport(), channel.remote_chanid
    transport._send_message(_message(common.MSG_CHANNEL_CLOSE, number))
    _send_for_long(transport, _message(common.MSG_CHANNEL_DATA, number, PIECE))


def closes_without_a_word(channel: paramiko.Channel) -> None:
    channel.close()
    time.sleep(FLOOD_S)


def disconnects(channel: paramiko.Channel) -> None:
    channel.get_transport()._send_message(_message(common.MSG_DISCONNECT, 2, "bye\x1b[2J" * 1_000, ""))
    time.sleep(FLOOD_S)


def status_cut_off(channel: paramiko.Channel) -> None:
    request = _message(common.MSG_CHANNEL_REQUEST, channel.remote_chanid, "exit-status")
    channel.get_transport()._send_message(request)
    time.sleep(FLOOD_S)


def eof_without_status(channel: paramiko.Channel) -> None:
    channel.shutdown_write()
    time.sleep(FLOOD_S)


def half_a_frame(channel: paramiko.Channel) -> None:
    channel.sendall(struct.pack(">I", 100) + b"half")
    time.sleep(FLOOD_S)


def drops(channel: paramiko.Channel) -> None:
    channel.sendall(struct.pack(">I", 100) + b"half")
    channel.get_transport().sock.shutdown(socket.SHUT_RDWR)


def exits_127(channel: paramiko.Channel) -> None:
    channel.sendall_stderr(b"sh: python: not found\n\x1b[2J")
    channel.send_exit_status(127)
    channel.close()


def exits_0(channel: paramiko.Channel) -> None:
    channel.send_exit_status(0)
    channel.close()


def rekeys(channel: paramiko.Channel) -> None:
    transport = channel.get_transport()
    transport._send_message(Message(transport._latest_kex_init))
    time.sleep(FLOOD_S)


def never_reads(channel: paramiko.Channel) -> None:
    """A huge window, and then our stdin is never taken from the socket."""
    transport = channel.get_transport()
    transport.packetizer.read_all = lambda n, check_rekey=False: time.sleep(FLOOD_S) or b""
    adjust = _message(common.MSG_CHANNEL_WINDOW_ADJUST, channel.remote_chanid, 2**31)
    transport._send_message(adjust)
    channel.sendall(struct.pack(">I", 5) + b"go on")
    time.sleep(FLOOD_S)


def single_bytes(channel: paramiko.Channel) -> None:
    """The cheapest packets that there are, as fast as can be."""
    channel.get_transport().sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    channel.sendall(struct.pack(">I", 60_000))
    _send_for_long(channel.get_transport(), _message(common.MSG_CHANNEL_DATA, channel.remote_chanid, b"x"))


def bytes_and_windows(channel: paramiko.Channel) -> None:
    """All the small packets that an honest server needs, each as often as it may."""
    transport, number = channel.get_transport(), channel.remote_chanid
    channel.sendall(struct.pack(">I", 60_000))
    kinds = (
        _message(common.MSG_CHANNEL_DATA, number, b"x"),
        _message(common.MSG_CHANNEL_WINDOW_ADJUST, number, 1),
        _message(common.MSG_IGNORE, b""),
    )
    for message in itertools.islice(itertools.cycle(kinds), 30_000):
        transport._send_message(message)


DATA, STDERR = common.MSG_CHANNEL_DATA, common.MSG_CHANNEL_EXTENDED_DATA
PIECE = bytes(32_000)
REFUSING = Behaviour("nobody listens", _hold, "HostAway", "connect")

BEHAVIOURS = (
    Behaviour("silent, no banner", silent, "HostAway", DEADLINE),
    Behaviour("closes at once", closing, "HostAway", "handshake: the connection was lost"),
    Behaviour("resets the connection", resetting, "HostAway", ""),
    Behaviour("banner dripped a byte at a time", banner_dripped, "HostAway", DEADLINE),
    Behaviour("banner of lines, slowly", banner_lines_slow, "HostAway", DEADLINE),
    Behaviour("banner of lines, endless", banner_lines_fast, "LimitExceeded", "banner"),
    Behaviour("banner without a newline, endless", banner_endless, "LimitExceeded", "banner bytes"),
    Behaviour("banner, then nothing", banner_only, "HostAway", DEADLINE),
    Behaviour("banner of protocol 1", banner_of_ssh_1, "BadAnswer", "handshake"),
    Behaviour("a web server", web_server, "HostAway", "handshake"),
    Behaviour("noise", noise, "LimitExceeded", "banner bytes"),
    Behaviour("packet of 4 GB", packet_huge, "LimitExceeded", "packet bytes"),
    Behaviour("packet of 4 GB, dripped", packet_huge_dripped, "LimitExceeded", "packet bytes"),
    Behaviour("packets of length 0", packet_of_nothing, "BadAnswer", "packet blocking"),
    Behaviour("packet dripped", packet_dripped, "LimitExceeded", "reads before login", may_last=True),
    Behaviour("IGNORE flood before kex", ignore_flood_before_kex, "LimitExceeded", "packets before login"),
    Behaviour("IGNORE slowly before kex", ignore_slow_before_kex, "HostAway", DEADLINE),
    Behaviour("KEXINIT of 3,000 names", kexinit_of_many_names, "BadAnswer", "no acceptable kex"),
    Behaviour("kex reply withheld", _ssh(server=NoKexReply), "HostAway", DEADLINE),
    Behaviour("only group14", _ssh(kex=("diffie-hellman-group14-sha256",)), "BadAnswer", "no acceptable kex"),
    Behaviour("only group16", _ssh(kex=("diffie-hellman-group16-sha512",)), "BadAnswer", "no acceptable kex"),
    Behaviour("only nistp256", _ssh(kex=("ecdh-sha2-nistp256",)), "BadAnswer", "no acceptable kex"),
    Behaviour("only compressed", _ssh(compression=("zlib",)), "BadAnswer", "handshake"),
    Behaviour("only CBC", _ssh(ciphers=("aes128-cbc",)), "BadAnswer", "no acceptable ciphers"),
    Behaviour("another host key", _ssh(key=_private_key()), "HostKeyMismatch", "is not the announced"),
    Behaviour(
        "an RSA host key", _ssh(key=paramiko.RSAKey.generate(2048)), "BadAnswer", "no acceptable host key"
    ),
    Behaviour(
        "service reply withheld",
        _ssh(server=_auth("A", _parse_service_request=_stay_silent)),
        "HostAway",
        DEADLINE,
    ),
    Behaviour(
        "auth reply withheld",
        _ssh(server=_auth("B", _parse_userauth_request=_stay_silent)),
        "HostAway",
        DEADLINE,
    ),
    Behaviour(
        "auth banner flood",
        _ssh(server=_auth("C", _parse_service_request=_flood_banners)),
        "LimitExceeded",
        "messages numbered 53",
    ),
    Behaviour(
        "service accept flood",
        _ssh(server=_auth("D", _parse_service_request=_flood_accepts)),
        "LimitExceeded",
        "messages numbered 6",
    ),
    Behaviour(
        "success flood",
        _ssh(server=_auth("E", _parse_service_request=_say_yes_before_asked)),
        "LimitExceeded",
        "messages numbered 52",
    ),
    Behaviour(
        "passwords asked for",
        _ssh(server=_auth("F", _parse_userauth_request=_ask_for_passwords)),
        "BadAnswer",
        "message 60",
    ),
    Behaviour("key refused", _ssh(refuses="key"), "HostAway", "auth: the server refused our key"),
    Behaviour("partial success", _ssh(refuses="half"), "HostAway", "auth: the server refused our key"),
    Behaviour("EXT_INFO of 4 billion before login", _ssh(server=ExtInfoBeforeLogin), "HostAway", DEADLINE),
    Behaviour(
        "EXT_INFO of 4 billion after login", _ssh(once(common.MSG_EXT_INFO, 2**32 - 1)), "HostAway", DEADLINE
    ),
    Behaviour("channel open withheld", _ssh(refuses="silently"), "HostAway", DEADLINE),
    Behaviour("channel rejected", _ssh(refuses="channel"), "HostAway", "open"),
    Behaviour("exec reply withheld", _ssh(refuses="exec silently"), "HostAway", DEADLINE),
    Behaviour("exec rejected", _ssh(refuses="exec"), "HostAway", "open: the server refused"),
    Behaviour("frame of 1 GB", _ssh(endless_stdout), "LimitExceeded", "a frame of 1000000000 bytes"),
    Behaviour(
        "empty frames without end", _ssh(endless_frames), "HostAway", DEADLINE, visited="HOST_BAD_ANSWER"
    ),
    Behaviour(
        "stdout ignores the window",
        _ssh(raw(DATA, b"\x7f" * 32_000, of_channel=True)),
        "LimitExceeded",
        "",
        may_last=True,
    ),
    Behaviour("stderr endless, window kept", _ssh(endless_stderr), "LimitExceeded", "", may_last=True),
    Behaviour(
        "stderr ignores the window",
        _ssh(raw(STDERR, 1, PIECE, of_channel=True)),
        "LimitExceeded",
        "",
        may_last=True,
    ),
    Behaviour(
        "single bytes without end", _ssh(single_bytes), "LimitExceeded", "messages numbered 94", may_last=True
    ),
    Behaviour(
        "bytes, windows and IGNOREs in turn", _ssh(bytes_and_windows), "LimitExceeded", "", may_last=True
    ),
    Behaviour(
        "data shorter than announced",
        _ssh(raw(DATA, 1_000_000, of_channel=True)),
        "BadAnswer",
        "1000000 bytes announced, 0 sent",
    ),
    Behaviour("stdout dripped", _ssh(stdout_dripped), "HostAway", DEADLINE),
    Behaviour(
        "EOF without exit status", _ssh(eof_without_status), "HostAway", "the program ended with no status"
    ),
    Behaviour("half a frame, then silence", _ssh(half_a_frame), "HostAway", DEADLINE),
    Behaviour("drops in the middle of a frame", _ssh(drops), "HostAway", "the connection was lost"),
    Behaviour(
        "exit status 127",
        _ssh(exits_127),
        "HostAway",
        r"status 127, it said 'sh: python: not found\n\x1b[2J'",
    ),
    Behaviour("exit status 0 at once", _ssh(exits_0), "HostAway", "the program ended with status 0"),
    Behaviour("rekeys", _ssh(rekeys), "LimitExceeded", "messages numbered 20"),
    Behaviour(
        "global request flood",
        _ssh(raw(common.MSG_GLOBAL_REQUEST, "x@y", False)),
        "LimitExceeded",
        "messages numbered 80",
    ),
    Behaviour(
        "global requests that want replies",
        _ssh(raw(common.MSG_GLOBAL_REQUEST, "x@y", True)),
        "LimitExceeded",
        "messages numbered 80",
    ),
    Behaviour(
        "channel request flood",
        _ssh(raw(common.MSG_CHANNEL_REQUEST, "x@y", True, of_channel=True)),
        "LimitExceeded",
        "messages numbered 98",
    ),
    Behaviour(
        "window adjust flood",
        _ssh(raw(common.MSG_CHANNEL_WINDOW_ADJUST, 1, of_channel=True)),
        "LimitExceeded",
        "messages numbered 93",
        may_last=True,
    ),
    Behaviour(
        "IGNORE flood after login",
        _ssh(raw(common.MSG_IGNORE, b"x")),
        "LimitExceeded",
        "messages numbered 2",
        may_last=True,
    ),
    Behaviour(
        "DEBUG flood", _ssh(raw(common.MSG_DEBUG, True, PIECE, "en")), "LimitExceeded", "messages numbered 4"
    ),
    Behaviour(
        "opens channels to us",
        _ssh(raw(common.MSG_CHANNEL_OPEN, "x11", 7, 1, 1, "h", 1)),
        "BadAnswer",
        "message 90",
    ),
    Behaviour("unknown message numbers", _ssh(raw(199, "x")), "BadAnswer", "message 199"),
    Behaviour("banner of a megabyte", banner_of_a_megabyte, "LimitExceeded", "banner bytes"),
    Behaviour("drops after its banner", banner_and_gone, "HostAway", "handshake: the connection was lost"),
    Behaviour("urgent bytes", urgent, "HostAway", DEADLINE),
    Behaviour("only group exchange", kexinit_of_groups_to_choose, "BadAnswer", "no acceptable kex"),
    Behaviour("NEWKEYS before any keys", newkeys_before_any, "BadAnswer", "handshake"),
    Behaviour("padding beyond the packet", padding_beyond_the_packet, "BadAnswer", "handshake"),
    Behaviour("drops in the key exchange", _ssh(server=DropsInKex), "HostAway", "handshake"),
    Behaviour("link freezes in the key exchange", _ssh(server=FreezesInKex), "HostAway", DEADLINE),
    Behaviour("the whole handshake dripped", dripping, "HostAway", DEADLINE),
    Behaviour(
        "output dripped",
        _ssh(output_dripped),
        "LimitExceeded",
        "reads",
        may_last=True,
    ),
    Behaviour("announced key without its signature", _ssh(key=Forger()), "BadAnswer", "handshake"),
    Behaviour(
        "another host key the second time",
        _changing_its_key(),
        "HostAway",
        "handshake",
        visited="HOST_KEY_MISMATCH",
    ),
    Behaviour("drops at login", _ssh(server=_auth("G", _parse_service_request=_hang_up)), "HostAway", "auth"),
    Behaviour(
        "drops at our key", _ssh(server=_auth("H", _parse_userauth_request=_hang_up)), "HostAway", "auth"
    ),
    Behaviour(
        "prompts without end",
        _ssh(server=_auth("I", _parse_userauth_request=_ask_for_ever)),
        "BadAnswer",
        "message 60",
    ),
    Behaviour("slow login, then silence", _ssh(refuses="slowly"), "HostAway", DEADLINE),
    Behaviour("drops at the channel", _ssh(refuses="by dropping the channel"), "HostAway", "open"),
    Behaviour("drops at the command", _ssh(refuses="by dropping the command"), "HostAway", "open"),
    Behaviour("1 GB in one line", _ssh(one_line), "LimitExceeded", "a frame of 2021161080 bytes"),
    Behaviour("a greeting", _ssh(a_greeting), "LimitExceeded", "a frame of 1466264675 bytes"),
    Behaviour("link freezes in the middle of a frame", _ssh(freezes), "HostAway", DEADLINE),
    Behaviour("resets in the middle of a session", _ssh(resets), "HostAway", "the connection was lost"),
    Behaviour("noise as ciphertext", _ssh(noise_as_ciphertext), "BadAnswer", "talk"),
    Behaviour("closes the channel and goes on", _ssh(closes_and_goes_on), "HostAway", "talk"),
    Behaviour(
        "data of another channel",
        _ssh(raw(DATA, 77, PIECE)),
        "BadAnswer",
        "channel 77, which we did not ask for",
    ),
    Behaviour(
        "closes without a word", _ssh(closes_without_a_word), "HostAway", "the program ended with no status"
    ),
    Behaviour("disconnects with many words", _ssh(disconnects), "HostAway", "talk"),
    Behaviour("exit status cut off", _ssh(status_cut_off), "HostAway", DEADLINE),
    Behaviour("window of 32 KiB for ever", _ssh(server=SmallWindow), "HostAway", DEADLINE),
    Behaviour(
        "global requests whose replies are never read",
        _ssh(raw_unread(common.MSG_GLOBAL_REQUEST, "x@y", True)),
        "LimitExceeded",
        "messages numbered 80",
    ),
    Behaviour(
        "channel requests whose replies are never read",
        _ssh(raw_unread(common.MSG_CHANNEL_REQUEST, "x@y", True, of_channel=True)),
        "LimitExceeded",
        "messages numbered 98",
    ),
    Behaviour(
        "banners after login",
        _ssh(raw(common.MSG_USERAUTH_BANNER, "hello " * 1_000, "en")),
        "LimitExceeded",
        "messages numbered 53",
    ),
    Behaviour(
        "UNIMPLEMENTED flood", _ssh(raw(common.MSG_UNIMPLEMENTED, 1)), "LimitExceeded", "messages numbered 3"
    ),
    Behaviour("never reads our stdin", _ssh(never_reads), "HostAway", DEADLINE, visited="HOST_BAD_ANSWER"),
)


def named() -> Iterator[Behaviour]:
    """All of them, with the port at which nobody listens."""
    yield from BEHAVIOURS
    yield REFUSING


if __name__ == "__main__":
    main()
