"""paramiko with bounds: what an SSH server may say to us, how often, how much of it and until when.

Stock paramiko trusts its server: some answers hang a careful caller for ever, others fill the memory, and one
packet burns a core for the best part of an hour. Here a table lists every message that an honest server needs
and how often; whatever is not in it, or comes once too often, ends the session. Socket reads go through one
place that counts bytes and reads and knows the deadline.

paramiko's internals are used (handler tables, `_verify_key`, a channel's event), so its version is pinned exactly
and the hostile suite in `tests/tasks/edges/test_shell_hostile.py` is the guard of this file.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, Self, cast

import paramiko
from paramiko import common
from paramiko.channel import Channel
from paramiko.message import Message
from paramiko.packet import Packetizer

from tasks.errors import BadAnswer, HostAway, HostKeyMismatch, LimitExceeded, SubnetError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MAX_PACKET_BYTES = 35_000
"""What RFC 4253 (6.1) obliges a peer to take, and more than the 32 KiB of data that we announce."""
MAX_BANNER_LINES = 8
MAX_BANNER_BYTES = 2_048
TICK_S = 1.0
"""How often an idle session looks at its deadline: a tenth of a second would cost 1,000 sessions 13 % of a core."""
STDERR_TAIL_BYTES = 2_048

BULK = 10_000
"""Messages that come with data, by default: `Bounds.bulk_messages`."""

_KEX_REPLY = 31
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
    login_packet_budget: int = 64
    """Until the server has let us in; seven or eight are usual."""
    read_budget: int = 40_000
    """Reads of the socket: a server that sends single bytes wakes us once for each."""
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
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)

    def bind(self, bounds: Bounds) -> None:
        """Before the first message: what this session may cost."""
        self.bounds = bounds
        self._allowance = {
            kind: bounds.bulk_messages if most == BULK else most for kind, most in ALLOWED.items()
        }

    def begin(self, phase: str, until: float) -> None:
        """From now on the session stands in this phase, which ends at `until` (monotonic)."""
        self.phase, self.until = phase, until

    def read_message(self) -> tuple[int, Message]:
        """The next message, if the table allows it once more."""
        kind, message = super().read_message()
        self.packets += 1
        budget = self.bounds.packet_budget if self.is_logged_in else self.bounds.login_packet_budget
        if self.packets > budget:
            self.give_up(
                LimitExceeded("packets" if self.is_logged_in else "packets before login", str(budget))
            )
        if kind not in self._allowance:
            self.give_up(BadAnswer(f"{self.phase}: message {kind}, which no server sends to us"))
        self._allowance[kind] -= 1
        if self._allowance[kind] < 0:
            self.give_up(LimitExceeded(f"messages numbered {kind}", self._most(kind)))
        return kind, message

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
                self._writable.poll(self._patience_ms())
            except OSError:
                self._lost()

    def start_handshake(self, timeout: float) -> None:
        """Nothing: the stock one starts a thread with a timer, and our deadline covers it."""

    def complete_handshake(self) -> None:
        """Nothing, see `start_handshake`."""

    def handshake_timed_out(self) -> bool:
        """Never: our deadline raises instead."""
        return False

    def give_up(self, fault: SubnetError) -> NoReturn:
        """Remember the first fault, and end the session with it."""
        self.fault = self.fault or fault
        raise self.fault

    def _fill(self) -> None:
        self._check()
        try:
            got = self._sock.recv(65_536)
        except BlockingIOError:
            self._readable.poll(self._patience_ms())
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
        if self.reads > self.bounds.read_budget:
            self.give_up(LimitExceeded("reads", str(self.bounds.read_budget)))

    def _check(self) -> None:
        if self.closed:
            raise EOFError
        if time.monotonic() >= self.until:
            self.give_up(HostAway(self.phase, "no answer by its deadline"))

    def _lost(self) -> NoReturn:
        # EOFError is the one that paramiko takes without formatting a traceback.
        self.fault = self.fault or HostAway(self.phase, "the connection was lost")
        raise EOFError

    def _patience_ms(self) -> float:
        return max(0.0, min(TICK_S, self.until - time.monotonic())) * 1_000 + 1

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

    def __init__(self, sock: socket.socket, announced: bytes, bounds: Bounds) -> None:
        super().__init__(sock, default_window_size=bounds.window_bytes, packetizer_class=BoundedPacketizer)
        sock.setblocking(False)  # noqa: FBT003  the socket's own name; the packetizer waits by itself
        self.wire = cast("BoundedPacketizer", self.packetizer)
        self.wire.bind(bounds)
        self.stderr_tail = b""
        self._announced = announced
        self._handler_table: dict[int, Callable[[Message], None]] = {
            **self._handler_table,
            # Ed25519 needs no server-sig-algs, and the stock parser loops as often as the packet says.
            common.MSG_EXT_INFO: _ignore,
        }
        self._channel_handler_table: dict[int, Callable[[Channel, Message], None]] = {
            **self._channel_handler_table,
            common.MSG_CHANNEL_DATA: self._take_stdout,
            common.MSG_CHANNEL_EXTENDED_DATA: self._take_stderr,
        }

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """Without the certificate variants that the stock one adds."""
        return self._preferred_keys

    def shake_hands(self, until: float) -> None:
        """Exchange keys; the server's host key is compared before its signature is looked at."""
        with self._phase("handshake", until):
            done = Event()
            self.start_client(event=done)
            self._await(done)
            if not self.initial_kex_done:
                raise self.failure()

    def authenticate(self, user: str, key: paramiko.PKey, until: float) -> None:
        """Log in with the public key, and by no other way."""
        with self._phase("auth", until):
            done = Event()
            self.auth_publickey(user, key, done)
            self._await(done)
            if not self.is_authenticated():
                raise self.wire.fault or HostAway("auth", "the server refused our key")
            self.wire.is_logged_in = True

    def execute(self, command: str, until: float) -> Channel:
        """The channel of this command, running."""
        with self._phase("open", until):
            channel = self.open_session(timeout=max(0.0, until - time.monotonic()))
            request = Message()
            request.add_byte(common.cMSG_CHANNEL_REQUEST)
            request.add_int(channel.remote_chanid)
            request.add_string("exec")
            request.add_boolean(True)  # noqa: FBT003  want_reply
            request.add_string(command)
            channel._event_pending()  # type: ignore[attr-defined]  # noqa: SLF001  the stock call waits for ever
            self._send_user_message(request)  # type: ignore[attr-defined]
            self._await(channel.event)
            if not channel.event_ready:
                raise self.wire.fault or HostAway("open", "the server refused to run our command")
            return channel

    def failure(self) -> SubnetError:
        """Why the session is over, in our own words."""
        if self.wire.fault is not None:
            return self.wire.fault
        if time.monotonic() >= self.wire.until:
            return HostAway(self.wire.phase, "no answer by its deadline")
        error = self.saved_exception
        if error is None or isinstance(error, EOFError | OSError | paramiko.ChannelException):
            return HostAway(self.wire.phase, f"the server closed it ({type(error).__name__})")
        return BadAnswer(f"{self.wire.phase}: {type(error).__name__}: {str(error)[:160]!r}")

    def end(self) -> None:
        """Let go of socket and thread; shutting down first wakes the thread, and closing first would not."""
        sock = cast("socket.socket", self.sock)
        with suppress(OSError):  # already gone: what follows is the same
            sock.shutdown(socket.SHUT_RDWR)
        if self.is_alive():
            self.join(TICK_S)
        self.close()
        sock.close()

    @contextmanager
    def _phase(self, phase: str, until: float) -> Iterator[None]:
        self.wire.begin(phase, until)
        try:
            yield
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self.failure() from error

    def _await(self, event: Event) -> None:
        if not event.wait(max(0.0, self.wire.until - time.monotonic())):
            self.wire.give_up(HostAway(self.wire.phase, "no answer by its deadline"))

    def _verify_key(self, host_key: bytes, signature: bytes) -> None:
        if host_key != self._announced:
            self.wire.give_up(HostKeyMismatch(host_key[:64], self._announced))
        super()._verify_key(host_key, signature)  # type: ignore[misc]

    def _parse_debug(self, message: Message) -> None:
        """Nothing: the stock one loops over every byte to log it."""

    def _take_stdout(self, channel: Channel, message: Message) -> None:
        data = self._payload(message)
        if len(channel.in_buffer) + len(data) > self.wire.bounds.window_bytes:
            self.wire.give_up(LimitExceeded("unread output", f"{self.wire.bounds.window_bytes} bytes"))
        channel.in_buffer.feed(data)

    def _take_stderr(self, channel: Channel, message: Message) -> None:
        """Keep the tail for an error's text, and give the window back so that the program never waits."""
        message.get_int()
        data = self._payload(message)
        self.stderr_tail = (self.stderr_tail + data)[-STDERR_TAIL_BYTES:]
        adjust = Message()
        adjust.add_byte(common.cMSG_CHANNEL_WINDOW_ADJUST)
        adjust.add_int(channel.remote_chanid)
        adjust.add_int(len(data))
        self._send_user_message(adjust)  # type: ignore[attr-defined]

    def _payload(self, message: Message) -> bytes:
        # get_string would pad a short packet with up to 1 MiB of zeros.
        size, data = message.get_int(), message.get_remainder()
        if size != len(data):
            self.wire.give_up(BadAnswer(f"{self.wire.phase}: {size} bytes announced, {len(data)} sent"))
        return data


def _ignore(message: Message) -> None:
    """Nothing is read of it."""
