"""Hostile SSH servers, one behaviour each: run as a program it serves all of them and prints their ports as JSON.

    python hostile.py <authorized public key line>
        -> {"key": <host key, hex>, "ports": {name: port, ...}}

It ends when its stdin does. `BEHAVIOURS` says of each what an honest client should make of it.
"""

# ruff: noqa: ARG002, ARG005, FBT003

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko import common
from paramiko.auth_handler import AuthHandler
from paramiko.message import Message

BANNER = b"SSH-2.0-OpenSSH_9.6\r\n"
FLOOD_S = 20.0


@dataclass(frozen=True)
class Behaviour:
    """What a server does, in words, and what the client is to raise: the name of an error and a part of its text."""

    name: str
    serve: Callable[[socket.socket], None]
    error: str
    says: str
    may_last: bool = False
    """A flood of small packets: where its server gets little CPU, the deadline comes before the budget's end."""


def main() -> None:
    """Serve every behaviour on a port of its own until stdin ends."""
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
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException), sock:
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


def kexinit_of_many_names(sock: socket.socket) -> None:
    names = b",".join([b"ext-info-s"] * 3_000)
    lists = struct.pack(">I", len(names)) + names + bytes(4) * 9
    sock.sendall(BANNER + _packet(bytes([common.MSG_KEXINIT]) + bytes(16) + lists + bytes(5)))
    _hold(sock)


# --- on paramiko's own server ----------------------------------------------------------------------


class Door(paramiko.ServerInterface):
    """Lets everybody in, and hands the command's channel to the behaviour."""

    def __init__(self, act: Callable[[paramiko.Channel], None] | None = None, *, refuses: str = "") -> None:
        self._act, self._refuses = act, refuses

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,keyboard-interactive"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        verdicts = {"key": paramiko.AUTH_FAILED, "half": paramiko.AUTH_PARTIALLY_SUCCESSFUL}
        return verdicts.get(self._refuses, paramiko.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self._refuses == "silently":
            time.sleep(FLOOD_S)
        refused = paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        return refused if self._refuses == "channel" else paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if self._refuses == "exec silently":
            time.sleep(FLOOD_S)
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
        transport.start_server(server=Door(act, refuses=refuses))
        transport.join(FLOOD_S)

    return serve


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


def once(kind: int, *parts: bytes | int | str | bool) -> Callable[[paramiko.Channel], None]:
    def act(channel: paramiko.Channel) -> None:
        channel.get_transport()._send_message(_message(kind, *parts))
        time.sleep(FLOOD_S)

    return act


def endless_stdout(channel: paramiko.Channel) -> None:
    channel.sendall(struct.pack(">I", 1_000_000_000))
    while True:
        channel.sendall(bytes(32_768))


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


DATA, STDERR = common.MSG_CHANNEL_DATA, common.MSG_CHANNEL_EXTENDED_DATA
PIECE = bytes(32_000)
DEADLINE = "no answer by its deadline"
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
    Behaviour("packet dripped", packet_dripped, "HostAway", DEADLINE),
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
    Behaviour("empty frames without end", _ssh(endless_frames), "HostAway", DEADLINE),
    Behaviour(
        "stdout ignores the window",
        _ssh(raw(DATA, PIECE, of_channel=True)),
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
    Behaviour("never reads our stdin", _ssh(never_reads), "HostAway", DEADLINE),
)


def named() -> Iterator[Behaviour]:
    """All of them, with the port at which nobody listens."""
    yield from BEHAVIOURS
    yield REFUSING


if __name__ == "__main__":
    main()
