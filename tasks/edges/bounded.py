"""paramiko with bounds: what an SSH server may say to us, how often, how much of it and until when.

Stock paramiko trusts its server: some answers hang a careful caller for ever, others fill the memory, and one
packet burns a core for the best part of an hour. Here a table lists every message that an honest server needs
and how often; whatever is not in it, or comes once too often, ends the session. Socket reads go through one
place that counts bytes and reads and knows the deadline.

Nor is there a thread for a session: whoever waits for an answer takes the server's messages meanwhile. How a socket
is waited for is given, so that thousands of sessions may share one thread (`tasks/edges/green.py`).

paramiko's internals are used (handler tables, `_verify_key`, what its thread would do), so its version is pinned
exactly and the hostile suite in `tests/tasks/edges/test_shell_hostile.py` is the guard of this file.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, cast

import paramiko
from paramiko import common
from paramiko.auth_handler import AuthHandler
from paramiko.message import Message
from paramiko.packet import Packetizer

from tasks.edges.program import HANDLERS, Program
from tasks.edges.sealed import LENGTH_BYTES, Opener, Sealer
from tasks.errors import BadAnswer, HostAway, HostKeyMismatch, LimitExceeded, SubnetError

if TYPE_CHECKING:
    from threading import Event

    from _typeshed import ReadableBuffer
    from paramiko.kex_curve25519 import KexCurve25519

MAX_PACKET_BYTES = 35_000
"""What RFC 4253 (6.1) obliges a peer to take, and more than the 32 KiB of data that we announce."""
MAX_BANNER_LINES = 8
MAX_BANNER_BYTES = 2_048
TICK_S = 5.0
"""How often a session that waits looks whether it was closed meanwhile, where closing does not wake it."""

FULL_BYTES = 512
"""What a packet carries on average where something is to be said: a server fills it from a pipe."""
BULK = 10_000
"""Messages that come with data, by default: `Bounds.bulk_messages`."""

_KEX_REPLY = 31
_FIRST_KEX, _LAST_KEX = 30, 41
ALLOWED: Mapping[int, int] = MappingProxyType(
    {
        common.MSG_DISCONNECT: 1,
        common.MSG_IGNORE: BULK,  # asyncssh sends one with each packet of data
        common.MSG_UNIMPLEMENTED: 4,
        common.MSG_DEBUG: 64,
        common.MSG_SERVICE_ACCEPT: 1,
        common.MSG_EXT_INFO: 2,
        common.MSG_KEXINIT: 1,
        common.MSG_NEWKEYS: 1,
        _KEX_REPLY: 1,
        common.MSG_USERAUTH_FAILURE: 1,
        common.MSG_USERAUTH_SUCCESS: 1,
        common.MSG_USERAUTH_BANNER: 4,
        common.MSG_GLOBAL_REQUEST: 64,
        common.MSG_CHANNEL_OPEN_SUCCESS: 1,
        common.MSG_CHANNEL_OPEN_FAILURE: 1,
        common.MSG_CHANNEL_WINDOW_ADJUST: BULK,
        common.MSG_CHANNEL_DATA: BULK,
        common.MSG_CHANNEL_EXTENDED_DATA: 1_000,
        common.MSG_CHANNEL_EOF: 1,
        common.MSG_CHANNEL_CLOSE: 1,
        common.MSG_CHANNEL_REQUEST: 64,
        common.MSG_CHANNEL_SUCCESS: 1,
        common.MSG_CHANNEL_FAILURE: 1,
    }
)
"""Message number -> how many of them a server may send in a session. One KEXINIT: no rekeying."""


class For(IntEnum):
    """What a socket is waited for."""

    READING = select.POLLIN
    WRITING = select.POLLOUT


class Wait(Protocol):
    """How a socket is waited for; may come back early."""

    def __call__(self, sock: socket.socket, what: For, timeout_s: float, /) -> None:
        """Come back when the socket is ready, or the time is over."""


def block(sock: socket.socket, what: For, timeout_s: float) -> None:
    """Let this thread wait."""
    poll = select.poll()
    poll.register(sock, what)
    poll.poll(timeout_s * 1_000 + 1)


_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)

# A server chooses much of what paramiko would write there, tracebacks included.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
logging.getLogger("paramiko").propagate = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one session may cost us."""

    receive_budget_bytes: int = 8 << 20
    """As they come from the network. Bandwidth probes of 1 and 4 MiB, 1 MiB of facts, 14 cards of 64 KiB
    in base64 come to 7.2 MiB."""
    packet_budget: int = 20_000
    tiny_packets: int = 1 << 31
    """Beyond one for each `FULL_BYTES` that came: few where no honest program prints piece by piece."""
    tiny_reads: int = 1 << 31
    """The same, of reads of the socket."""
    login_packet_budget: int = 64
    """Until the server has let us in; seven or eight are usual."""
    read_budget: int = 40_000
    """Reads of the socket: a server that sends single bytes wakes us once for each, 50 to 100 us of CPU."""
    login_read_budget: int = 400
    """Until the server has let us in; ten or twenty are usual, a hundred where segments are small."""
    window_bytes: int = 1_310_720
    """Unread output that we hold: a bandwidth probe of 1 MiB fits, so that it never waits for us."""
    lifetime_s: float = 900.0
    """From connecting to the end, phases and pauses together."""
    bulk_messages: int = BULK
    """Of each kind that comes with data, ours or theirs."""

    @classmethod
    def for_bytes(cls, total_bytes: int, lifetime_s: float) -> Self:
        """For a session that carries so many bytes to us or from us, in packets of 1 KiB or more: a backup."""
        usual, packets = cls(), total_bytes // 1_024
        return cls(
            receive_budget_bytes=usual.receive_budget_bytes + total_bytes + total_bytes // 8,
            packet_budget=usual.packet_budget + 2 * packets,
            read_budget=usual.read_budget + 2 * packets,
            bulk_messages=usual.bulk_messages + packets,
            lifetime_s=lifetime_s,
        )


class BoundedPacketizer(Packetizer):
    """Reads and writes packets under budgets; `fault` keeps the first reason to give up."""

    # We refuse rekeying, so it must not be us who asks for it: as OpenSSH has it, AES-GCM and CTR are good for 64 GiB.
    REKEY_BYTES = 1 << 36
    REKEY_PACKETS = 1 << 31

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.bounds = Bounds()
        self.fault: SubnetError | None = None
        self.phase, self.until = "handshake", time.monotonic()
        self.bytes_received = self.packets = self.reads = 0
        self.is_logged_in = False
        self._sock = sock
        self._held = bytearray()
        self._banner_lines = 0
        self._allowance = dict(ALLOWED)
        self._wait: Wait = block
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None

    def bind(self, bounds: Bounds, wait: Wait) -> None:
        """Before the first message: what this session may cost, and how its socket is waited for."""
        self.bounds, self._wait = bounds, wait
        self._allowance = {
            kind: bounds.bulk_messages if most == BULK else most for kind, most in ALLOWED.items()
        }

    def set_outbound_cipher(self, block_engine: Any, *args: Any, **how: Any) -> None:
        """As the stock one; packets under AES-GCM are made by ourselves from now on."""
        super().set_outbound_cipher(block_engine, *args, **how)
        self._sealer = Sealer(block_engine, how["iv_out"]) if how.get("aead") else None

    def set_inbound_cipher(self, block_engine: Any, *args: Any, **how: Any) -> None:
        """The same for those that come."""
        super().set_inbound_cipher(block_engine, *args, **how)
        self._opener = Opener(block_engine, how["iv_in"]) if how.get("aead") else None

    def send_message(self, data: Message) -> None:
        """Write one message."""
        if self._sealer is None:
            super().send_message(data)
        else:
            self.write_all(self._sealer.seal(data.asbytes()))

    def begin(self, phase: str, until: float) -> None:
        """From now on the session stands in this phase, which ends at `until` (monotonic)."""
        self.phase, self.until = phase, until

    def read_message(self) -> tuple[int, Message]:
        """The next message, if the table allows it once more."""
        kind, message = super().read_message() if self._opener is None else self._open(self._opener)
        self.packets += 1
        if self.packets > (budget := self._packet_budget):
            self.give_up(
                LimitExceeded("packets" if self.is_logged_in else "packets before login", str(budget))
            )
        if kind not in self._allowance:
            self.give_up(BadAnswer(f"{self.phase}: message {kind}, which no server sends to us"))
        self._allowance[kind] -= 1
        if self._allowance[kind] < 0:
            self.give_up(LimitExceeded(f"messages numbered {kind}", self._most(kind)))
        return kind, message

    @property
    def _packet_budget(self) -> int:
        if not self.is_logged_in:
            return self.bounds.login_packet_budget
        return min(self.bounds.packet_budget, self.bounds.tiny_packets + self.bytes_received // FULL_BYTES)

    @property
    def _read_budget(self) -> int:
        if not self.is_logged_in:
            return self.bounds.login_read_budget
        return min(self.bounds.read_budget, self.bounds.tiny_reads + self.bytes_received // FULL_BYTES)

    def _open(self, opener: Opener) -> tuple[int, Message]:
        length = self.read_all(LENGTH_BYTES)
        payload = opener.open(length, self.read_all(opener.size(length)))
        message = Message(payload[1:])
        message.seqno = 0  # asked for by nobody: we answer no packet as unknown
        return payload[0], message

    def _most(self, kind: int) -> str:
        return str(self.bounds.bulk_messages if ALLOWED[kind] == BULK else ALLOWED[kind])

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:  # noqa: FBT001, FBT002, ARG002  paramiko's own
        """Exactly `n` bytes, refused when no packet may be that large."""
        if not 0 <= n <= MAX_PACKET_BYTES:
            self.give_up(LimitExceeded("packet bytes", str(MAX_PACKET_BYTES)))
        while len(self._held) < n:
            self._fill()
        return self._take(n)

    def readline(self, timeout: float) -> str:  # noqa: ARG002  ours is the phase's deadline
        """A line of what comes before the first packet."""
        while (end := self._held.find(b"\n")) < 0:
            if self.bytes_received > MAX_BANNER_BYTES:
                self.give_up(LimitExceeded("banner bytes", str(MAX_BANNER_BYTES)))
            self._fill()
        self._banner_lines += 1
        if self._banner_lines > MAX_BANNER_LINES:
            self.give_up(LimitExceeded("banner lines", str(MAX_BANNER_LINES)))
        return self._take(end + 1).rstrip(b"\r\n").decode("utf-8", "replace")

    def write_all(self, out: ReadableBuffer) -> None:
        """Write it whole, however slowly the server reads, until the phase's deadline."""
        rest = memoryview(out)
        while rest:
            self._check()
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                self._wait(self._sock, For.WRITING, self._patience_s())
            except OSError:
                self._lost()

    def start_handshake(self, timeout: float) -> None:
        """Nothing: the stock one starts a thread with a timer, and our deadline covers it."""

    def complete_handshake(self) -> None:
        """Nothing, see `start_handshake`."""

    def handshake_timed_out(self) -> bool:
        """Never: our deadline raises instead."""
        return False

    def has_input(self) -> bool:
        """Whether something has come, be it the end."""
        if self._held:
            return True
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def give_up(self, fault: SubnetError) -> NoReturn:
        """Remember the first fault, and end the session with it."""
        self.fault = self.fault or fault
        raise self.fault

    def _fill(self) -> None:
        self._check()
        try:
            got = self._sock.recv(65_536)
        except BlockingIOError:
            self._wait(self._sock, For.READING, self._patience_s())
            return
        except OSError:
            self._lost()
        if not got:
            self._lost()
        if _QUICKACK is not None:
            self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        self._held += got
        self._account(len(got))

    def _account(self, size: int) -> None:
        self.bytes_received += size
        self.reads += 1
        if self.bytes_received > self.bounds.receive_budget_bytes:
            self.give_up(LimitExceeded("bytes received", str(self.bounds.receive_budget_bytes)))
        if self.reads > (budget := self._read_budget):
            self.give_up(LimitExceeded("reads" if self.is_logged_in else "reads before login", str(budget)))

    def _check(self) -> None:
        if self.closed:
            raise EOFError
        if time.monotonic() >= self.until:
            self.give_up(HostAway(self.phase, "no answer by its deadline"))

    def _lost(self) -> NoReturn:
        # EOFError is the one that paramiko takes without formatting a traceback.
        self.fault = self.fault or HostAway(self.phase, "the connection was lost")
        raise EOFError

    def _patience_s(self) -> float:
        return max(0.0, min(TICK_S, self.until - time.monotonic()))

    def _take(self, n: int) -> bytes:
        out = bytes(memoryview(self._held)[:n])
        del self._held[:n]
        return out


class BoundedTransport(paramiko.Transport):
    """One client session to one server whose ed25519 host key is announced; every step has a deadline."""

    _preferred_kex = ("mlkem768x25519-sha256", "curve25519-sha256@libssh.org")
    _preferred_keys = ("ssh-ed25519",)
    _preferred_pubkeys = ("ssh-ed25519",)
    _preferred_ciphers = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
    _preferred_macs = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-256")
    _preferred_compression = ("none",)
    _active_check_timeout = TICK_S

    def __init__(self, sock: socket.socket, announced: bytes, bounds: Bounds, wait: Wait = block) -> None:
        super().__init__(sock, packetizer_class=BoundedPacketizer)
        sock.setblocking(False)  # noqa: FBT003  the socket's own name; the packetizer waits by itself
        self.wire = cast("BoundedPacketizer", self.packetizer)
        self.wire.bind(bounds, wait)
        self.program: Program | None = None
        self._announced = announced
        self._handler_table: dict[int, Callable[[Message], None]] = {
            **self._handler_table,
            # Ed25519 needs no server-sig-algs, and the stock parser loops as often as the packet says.
            common.MSG_EXT_INFO: _ignore,
            common.MSG_UNIMPLEMENTED: _ignore,
            common.MSG_CHANNEL_OPEN_SUCCESS: self._opened,
            common.MSG_CHANNEL_OPEN_FAILURE: self._not_opened,
        }

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """Without the certificate variants that the stock one adds."""
        return self._preferred_keys

    def shake_hands(self, until: float) -> None:
        """Exchange keys; the server's host key is compared before its signature is looked at."""
        with self._phase("handshake", until):
            self.active = True
            self.wire.write_all(f"{self.local_version}\r\n".encode())
            self._check_banner()  # type: ignore[attr-defined]
            self._send_kex_init()  # type: ignore[attr-defined]
            self._expect_packet(common.MSG_KEXINIT)  # type: ignore[attr-defined]
            while not self.initial_kex_done:
                self._take_message()

    def authenticate(self, user: str, key: paramiko.PKey, until: float) -> None:
        """Log in with the public key, and by no other way."""
        with self._phase("auth", until):
            done = _Flag()
            self.auth_handler = AuthHandler(self)
            self.auth_handler.auth_publickey(user, key, cast("Event", done))
            while not done.is_set():
                self._take_message()
            if not self.is_authenticated():
                raise self.wire.fault or HostAway("auth", "the server refused our key")
            self.wire.is_logged_in = True

    def execute(self, command: str, until: float) -> Program:
        """This command, running; it is the only one of a session."""
        with self._phase("open", until):
            self.program = program = Program(self.wire.bounds.window_bytes, self._send_user_message)
            program.open()
            while not program.is_open:
                self._take_message()
            program.execute(command)
            while program.is_running is None:
                self._take_message()
            if not program.is_running:
                raise self.wire.fault or HostAway("open", "the server refused to run our command")
            return program

    def write(self, piece: bytes) -> None:
        """Hand the program all of it, as fast as its window allows, until the phase's deadline; EOFError when it takes no more."""
        rest = memoryview(piece)
        while rest:
            room = self._program.room
            if not room:
                self._talk_on()
                continue
            self._program.write(bytes(rest[:room]))
            rest = rest[room:]

    def read(self, most: int) -> bytes:
        """What the program has printed, at least one byte of it; EOFError when nothing more will come."""
        while not self._program.stdout:
            self._talk_on()
        return self._program.read(most)

    def await_status(self, wait_s: float) -> int | None:
        """The program's exit status, if it tells it by then."""
        self.wire.begin(self.wire.phase, min(self.wire.until, time.monotonic() + wait_s))
        with suppress(SubnetError, EOFError):
            while self._program.exit_status is None and not self._program.is_closed:
                self._advance()
        return self._program.exit_status

    def catch_up(self, until: float) -> bool:
        """Take what has come while nobody waited; whether the session is still good."""
        self.wire.begin(self.wire.phase, until)
        with suppress(SubnetError, EOFError):
            while self.active and self.wire.has_input():
                self._advance()
        return self.active and not self._program.has_ended

    @property
    def _program(self) -> Program:
        if self.program is None:
            raise EOFError
        return self.program

    def failure(self) -> SubnetError:
        """Why the session is over, in our own words."""
        if self.wire.fault is not None:
            return self.wire.fault
        if time.monotonic() >= self.wire.until:
            return HostAway(self.wire.phase, "no answer by its deadline")
        error = self.saved_exception
        if error is None or isinstance(error, EOFError | OSError):
            return HostAway(self.wire.phase, f"the server closed it ({type(error).__name__})")
        return BadAnswer(f"{self.wire.phase}: {type(error).__name__}: {str(error)[:160]!r}")

    def end(self) -> None:
        """Let go of the socket; whoever waits for it is woken, which closing alone would not do."""
        sock = cast("socket.socket", self.sock)
        self.active = False
        self.wire.close()
        with suppress(OSError):  # already gone: what follows is the same
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    @contextmanager
    def _phase(self, phase: str, until: float) -> Iterator[None]:
        self.wire.begin(phase, until)
        try:
            yield
        except SubnetError:
            self.active = False
            raise
        except Exception as error:
            self._break(error)
            raise self.failure() from error

    def _talk_on(self) -> None:
        """Take one message more of a program that may still say or read something."""
        if self._program.has_ended:
            raise EOFError
        self._advance()

    def _advance(self) -> None:
        """Take one message; what breaks the session is an EOFError, and `failure` has the cause."""
        if not self.active:
            raise EOFError
        try:
            self._take_message()
        except (SubnetError, EOFError):
            self.active = False
            raise
        except Exception as error:
            # Whatever a parser of paramiko's stumbled over: the answer was no good one.
            self._break(error)
            raise EOFError from error

    def _break(self, error: Exception) -> None:
        self.active = False
        self.saved_exception = error

    def _take_message(self) -> None:
        """Wait for the next message and do what it asks, as the stock thread would."""
        kind, message = self.wire.read_message()
        if kind in {common.MSG_IGNORE, common.MSG_DEBUG}:
            self._enforce_strict_kex(kind)  # type: ignore[attr-defined]
        elif kind == common.MSG_DISCONNECT:
            raise EOFError
        elif not self._is_kex(kind, message):
            self._dispatch(kind, message)

    def _is_kex(self, kind: int, message: Message) -> bool:
        """Whether it was for the exchange of keys; SSHException when another message had to come."""
        if not self._expected_packet:
            return False
        if kind not in self._expected_packet:
            raise paramiko.SSHException(f"message {kind}, where {self._expected_packet} was to come")
        self._expected_packet: tuple[int, ...] = ()
        if not _FIRST_KEX <= kind <= _LAST_KEX:
            return False
        cast("KexCurve25519", self.kex_engine).parse_next(kind, message)
        return True

    def _dispatch(self, kind: int, message: Message) -> None:
        if kind in self._handler_table:
            self._handler_table[kind](message)
        elif kind in HANDLERS and self.program is not None:
            self.program.take(kind, message)
        elif kind in (logins := self._login_handlers()):
            logins[kind](message)
        else:
            self.wire.give_up(BadAnswer(f"{self.wire.phase}: message {kind}, for which it is not the time"))

    def _login_handlers(self) -> Mapping[int, Callable[[Message], None]]:
        login: Any = self.auth_handler
        return {} if login is None else login._handler_table  # noqa: SLF001  the stock loop's own way

    def _opened(self, message: Message) -> None:
        number, *rest = (message.get_int() for _ in range(4))
        self._own(number).opened(*rest)

    def _not_opened(self, message: Message) -> None:
        self._own(message.get_int())
        self.wire.give_up(HostAway("open", "the server refused to open a channel"))

    def _own(self, number: int) -> Program:
        if self.program is None or number != self.program.number or self.program.is_open:
            self.wire.give_up(BadAnswer(f"{self.wire.phase}: channel {number}, which we did not ask for"))
        return self.program

    def _send_user_message(self, message: Message) -> None:
        """At once: there is neither another thread nor a second exchange of keys to wait for."""
        self._send_message(message)  # type: ignore[attr-defined]

    def _verify_key(self, host_key: bytes, signature: bytes) -> None:
        if host_key != self._announced:
            self.wire.give_up(HostKeyMismatch(host_key[:64], self._announced))
        super()._verify_key(host_key, signature)  # type: ignore[misc]

    def _log(self, level: int, message: object, *args: object) -> None:
        """Nothing: a server chooses much of what the stock one writes, and writing it costs."""


class _Flag:
    """The part of an event that paramiko's authentication needs of one."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set


def _ignore(message: Message) -> None:
    """Nothing is read of it."""
