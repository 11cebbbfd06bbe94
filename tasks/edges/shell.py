"""The SSH edge: a session to one executor, in which we exchange length-framed messages with one program.

    with the pacer's leave:  connect -> handshake (host key compared) -> auth -> one channel -> one exec
    then, over the phases of an epoch:  send(frame), receive() -> frame, ..., close()

A frame is 4 bytes of length (big-endian) and that many bytes, both ways. The command is a constant: Python reads
the first frame from its stdin and runs it (`tasks/inspection/remote.py`), so nothing is written to the executor's
disk and no text of ours or theirs becomes part of a shell command, but for the interpreter's path, which may only
hold harmless characters. The calls wait, in a thread of their own or in one that many sessions share
(`tasks/edges/green.py`): how they do is the shell's.

Errors: `HostAway` (away, too late, let us not in, or ended), `HostKeyMismatch`, `LimitExceeded`, `BadAnswer`.
"""

from __future__ import annotations

import copy
import errno
import ipaddress
import os
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import NoReturn, Protocol, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko import Ed25519Key, Message, SSHException

from storage.records import Executor, StepTime
from tasks.edges.bounded import BoundedTransport, Bounds, For, Wait, block
from tasks.edges.wire import blob_of_certificate, blob_of_line, certified_key
from tasks.errors import BadAnswer, HostAway, HostileAnswer, LimitExceeded, SubnetError

LOADER = (
    "import sys;r=sys.stdin.buffer.read;"
    'exec(compile(r(int.from_bytes(r(4),"big")),"runner","exec"),{"__name__":"__main__"})'
)
"""The whole command: the program itself is the first frame."""

HOST_KEY_PREFIX = struct.pack(">I11sI", 11, b"ssh-ed25519", 32)
_HEADER = struct.Struct(">I")
_PIECE_BYTES = 32_768
_LAST_WORDS_S = 0.5
_MISSED_S = 1.0
"""For what came while nobody waited: it is there, unless half a message is all of it."""
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 30_000))
"""A link that froze between two phases is noticed after 35 s; the last one is in milliseconds."""


@dataclass(frozen=True, slots=True)
class ShellSettings:
    """How we connect; which of our resources a server may use is in `bounds`."""

    connect_deadline_s: float = 20.0
    """From the start of connecting, after the pacer's leave, until the command runs."""
    max_frame_bytes: int = 1 << 20
    starts_per_s: float = 150.0
    max_handshakes: int = 300
    """Open at once: more of them slow each other down until none gets through."""
    is_public_only: bool = False
    """Refuse loopback, private and link-local addresses, as a validator of a public subnet should."""
    bounds: Bounds = field(default_factory=Bounds)


class Session(Protocol):
    """A running program on an executor; deadlines are instants of `time.monotonic()`."""

    @property
    def steps(self) -> tuple[StepTime, ...]:
        """How long it took to be opened, step by step."""

    @property
    def bytes_received(self) -> int:
        """From the network, over the whole session."""

    @property
    def is_alive(self) -> bool:
        """Whether nothing has ended it yet."""

    def send(self, frame: bytes, *, deadline: float) -> None:
        """Send one frame."""

    def receive(self, *, deadline: float, limit_bytes: int) -> bytes:
        """The next frame, at most `limit_bytes` long."""

    def close(self) -> None:
        """End program, channel and connection; twice is harmless."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect and what to expect there: the part of an `Executor` that this edge needs, checked."""

    address: str
    port: int
    user: str
    python: str
    host_key: bytes

    @classmethod
    def of(cls, executor: Executor, *, is_public_only: bool = False) -> Self:
        """Take what a miner announced; `BadAnswer` for what could be no address, user, path or key."""
        _check_address(executor.address, is_public_only=is_public_only)
        _check(0 < executor.port < 65_536, "port", str(executor.port), "1 to 65535")
        _check_text("user", executor.user, "[a-z_][a-z0-9_-]{0,31}")
        _check_text("python", executor.python, "/[A-Za-z0-9._/+-]{1,200}")
        key = executor.host_key
        wanted = "an ed25519 public key of 51 bytes"
        _check(len(key) == 51 and key.startswith(HOST_KEY_PREFIX), "host key", key[:64].hex(), wanted)
        return cls(executor.address, executor.port, executor.user, executor.python, key)

    @property
    def command(self) -> str:
        """What the user's login shell is asked to run: `exec` leaves no shell in between."""
        return f"exec {self.python} -I -c '{LOADER}'"


@dataclass(frozen=True, slots=True)
class EpochKey:
    """The Ed25519 key of one epoch: it lives in the memory of the epoch's processes only and dies with them."""

    public_line: str
    """OpenSSH's one-line text, as it stands in an authorized_keys file."""
    signer: Ed25519Key = field(repr=False, compare=False)
    seed: bytes = field(default=b"", repr=False, compare=False)
    """32 secret bytes: all that the key is, for a process that talks to machines in its name."""

    @classmethod
    def generate(cls) -> Self:
        """Make a fresh key (0.05 ms)."""
        return cls.of(secrets.token_bytes(32))

    @classmethod
    def of(cls, seed: bytes) -> Self:
        """The key of these secret bytes."""
        key = Ed25519PrivateKey.from_private_bytes(seed)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        line = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        return cls(line.decode(), Ed25519Key(file_obj=StringIO(pem.decode())), seed)

    def certified(self, line: str) -> Self:
        """The same key, which logs in by this OpenSSH certificate; BadAnswer when it is none of ours."""
        try:
            blob = blob_of_certificate(line)
        except ValueError as error:
            raise BadAnswer(f"the certificate is {error}") from None
        if certified_key(blob) != blob_of_line(self.public_line):
            raise BadAnswer("the certificate is of another key than ours")
        signer = copy.copy(self.signer)
        # As bytes: a text might be taken for a file's name.
        signer.load_certificate(Message(blob))
        return replace(self, signer=signer)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an epoch's key is never written down; its seed goes to the epoch's own processes by hand"
        )


class Places(Protocol):
    """A bounded number of places, as a semaphore of whoever waits has it."""

    def acquire(self, *, timeout: float) -> bool:
        """Take one; False when none was free in time."""

    def release(self) -> None:
        """Give it back."""


class Pacer:
    """Spreads the starts of sessions over time: one turn each 1/rate seconds, and a bounded number at once.

    A thousand sessions started together slow each other down 20-fold and many fail; paced, all succeed. A turn
    that nobody took is not saved up: after a pause the starts don't come in a burst.
    """

    def __init__(
        self,
        starts_per_s: float,
        max_handshakes: int = 300,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        places: Callable[[], Places] | None = None,
    ) -> None:
        self._gap_s = 1.0 / starts_per_s
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._next_start = clock()
        self._open = places() if places else threading.BoundedSemaphore(max_handshakes)

    @contextmanager
    def turn(self, deadline: float) -> Iterator[None]:
        """Wait for a turn, and hold a place among the open handshakes for the body's duration."""
        if not self._open.acquire(timeout=max(0.0, deadline - self._clock())):
            raise HostAway(
                "connect", "our own pacing left it no turn by the deadline: too many open handshakes"
            )
        try:
            self._sleep(self._wait_s(deadline))
            yield
        finally:
            self._open.release()

    def set_rate(self, starts_per_s: float) -> None:
        """From now on so many a second."""
        self._gap_s = 1.0 / starts_per_s

    def _wait_s(self, deadline: float) -> float:
        with self._lock:
            now = self._clock()
            start = max(now, self._next_start)
            if start > deadline:
                raise HostAway("connect", "our own pacing left it no turn by the deadline: too many starts")
            self._next_start = start + self._gap_s
            return start - now


class StopWatch:
    """Takes the time of steps that follow each other."""

    def __init__(self, hear: Callable[[], object] | None = None) -> None:
        self._hear = hear
        self._last = time.monotonic()
        self._steps: list[StepTime] = []

    def note(self, name: str) -> None:
        """This step ends now."""
        now = time.monotonic()
        self._steps.append(StepTime(name, round(now - self._last, 6)))
        self._last = now
        if self._hear is not None:
            self._hear()

    @property
    def steps(self) -> tuple[StepTime, ...]:
        """All until now."""
        return tuple(self._steps)


class Shell:
    """Opens sessions, paced; one object for all threads of a process."""

    def __init__(
        self, settings: ShellSettings | None = None, pacer: Pacer | None = None, wait: Wait = block
    ) -> None:
        self.settings, self._wait = settings or ShellSettings(), wait
        self.pacer = pacer or Pacer(self.settings.starts_per_s, self.settings.max_handshakes)

    def open(
        self, executor: Executor, key: EpochKey, *, deadline: float, hear: Callable[[], object] | None = None
    ) -> ShellSession:
        """Connect, check the host key, log in and start the loader, all by the deadline; `hear` is told of each step."""
        target = Target.of(executor, is_public_only=self.settings.is_public_only)
        watch = StopWatch(hear)
        with self.pacer.turn(deadline):
            watch.note("turn")
            until = min(deadline, time.monotonic() + self.settings.connect_deadline_s)
            sock = connect(target.address, target.port, until, self._wait)
            watch.note("connect")
            transport = BoundedTransport(sock, target.host_key, self.settings.bounds, self._wait)
            try:
                transport.shake_hands(until)
                watch.note("handshake")
                transport.authenticate(target.user, key.signer, until)
                watch.note("login")
                transport.execute(target.command, until)
                watch.note("open")
            except BaseException:
                transport.end()
                raise
        return ShellSession(transport, self.settings, watch.steps)


class ShellSession:
    """A `Session` over paramiko, used by one thread at a time.

    Between two calls it may be idle for as long as its lifetime lasts. An error ends it: what was half sent or
    half received can't be taken up again.
    """

    def __init__(
        self, transport: BoundedTransport, settings: ShellSettings, steps: tuple[StepTime, ...] = ()
    ) -> None:
        self._transport, self._settings, self._steps = transport, settings, steps
        self._lifetime_end = time.monotonic() + settings.bounds.lifetime_s
        self._in_use = threading.Lock()
        """By the thread that sends, receives or looks: what another one took off the wire meanwhile, it would wait for."""
        self._rest()

    @property
    def steps(self) -> tuple[StepTime, ...]:
        """How long it took to be opened, step by step."""
        return self._steps

    @property
    def bytes_received(self) -> int:
        """From the network, handshake included."""
        return self._transport.wire.bytes_received

    @property
    def is_alive(self) -> bool:
        """Whether nothing has ended it yet; from any thread."""
        now = time.monotonic()
        if now >= self._lifetime_end or not self._in_use.acquire(blocking=False):
            return now < self._lifetime_end and self._transport.active
        try:
            is_good = self._transport.catch_up(now + _MISSED_S)
            self._rest()
        finally:
            self._in_use.release()
        return is_good

    def send(self, frame: bytes, *, deadline: float) -> None:
        """Send one frame, whole, by the deadline."""
        if len(frame) > self._settings.max_frame_bytes:
            raise ValueError(f"a frame of {len(frame)} bytes, at most {self._settings.max_frame_bytes} fit")
        with self._talk(deadline):
            first = _PIECE_BYTES - _HEADER.size
            self._transport.write(_HEADER.pack(len(frame)) + frame[:first])
            for start in range(first, len(frame), _PIECE_BYTES):
                self._transport.write(frame[start : start + _PIECE_BYTES])

    def receive(self, *, deadline: float, limit_bytes: int) -> bytes:
        """The next frame, whole, by the deadline; `LimitExceeded` when its length is announced above the limit."""
        with self._talk(deadline):
            (size,) = _HEADER.unpack(self._pull(_HEADER.size))
            limit = min(limit_bytes, self._settings.max_frame_bytes)
            if size > limit:
                self._transport.wire.give_up(LimitExceeded(f"a frame of {size} bytes", f"{limit} bytes"))
            return self._pull(size)

    def close(self) -> None:
        """End channel and connection; the program over there ends with them."""
        self._transport.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _talk(self, deadline: float) -> Iterator[None]:
        if not self._in_use.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise HostAway("talk", "another thread talks on this session")
        try:
            self._transport.wire.begin("talk", min(deadline, self._lifetime_end))
            yield
            self._rest()
        except (SSHException, EOFError, OSError) as error:
            failure = self._why_ended(deadline)
            self.close()
            raise failure from error
        except BaseException:
            self.close()
            raise
        finally:
            self._in_use.release()

    def _rest(self) -> None:
        self._transport.wire.begin("talk", self._lifetime_end)

    def _pull(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            got += self._transport.read(size - len(got))
        return bytes(got)

    def _why_ended(self, deadline: float) -> SubnetError:
        """A breach of bounds, else the program's exit status and last words, else what broke the session."""
        transport, program = self._transport, self._transport.program
        if isinstance(transport.wire.fault, HostileAnswer) or program is None:
            return transport.failure()
        wait_s = min(_LAST_WORDS_S, deadline - time.monotonic())
        status = transport.await_status(wait_s) if transport.is_active() else program.exit_status
        if status is None and not program.has_ended:
            return transport.failure()
        words = program.stderr_tail[-300:].decode("utf-8", "replace")
        return HostAway(
            "talk",
            f"the program ended with {'no status' if status is None else f'status {status}'}"
            + (f", it said {words!r}" if words else ""),
        )


def connect(address: str, port: int, until: float, wait: Wait = block) -> socket.socket:
    """A TCP connection to a literal address that does not block, and is given up when the other side is gone; HostAway."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:  # this machine has no IPv6, or no file descriptor left
        raise HostAway("connect", f"no socket for {address}: {error}") from error
    try:
        sock.setblocking(False)  # noqa: FBT003  the socket's own name
        _reach(sock, address, port, until, wait)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if (option := getattr(socket, name, None)) is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError as error:
        sock.close()
        raise HostAway("connect", f"{address} port {port}: {error}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _reach(sock: socket.socket, address: str, port: int, until: float, wait: Wait) -> None:
    """Connect a socket that does not block by the deadline; OSError."""
    failed = sock.connect_ex((address, port))
    while failed in {errno.EINPROGRESS, errno.EALREADY}:
        if time.monotonic() >= until:
            raise TimeoutError("timed out")
        wait(sock, For.WRITING, max(0.0, until - time.monotonic()))
        failed = sock.connect_ex((address, port))
    if failed not in {0, errno.EISCONN}:
        raise OSError(failed, os.strerror(failed))


def _check_address(address: str, *, is_public_only: bool) -> None:
    wanted = "a literal address of one host" + (", public" if is_public_only else "")
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise BadAnswer(f"address {address[:64]!r}, wanted {wanted}") from None
    _check("%" not in address, "address", address, wanted)
    _check(not (parsed.is_multicast or parsed.is_unspecified), "address", address, wanted)
    _check(not is_public_only or parsed.is_global, "address", address, wanted)


def _check_text(name: str, value: str, pattern: str) -> None:
    _check(re.fullmatch(pattern, value) is not None, name, value, pattern)


def _check(is_good: bool, name: str, got: str, wanted: str) -> None:  # noqa: FBT001  the thing asserted
    if not is_good:
        raise BadAnswer(f"{name} {got[:64]!r}, wanted {wanted}")
