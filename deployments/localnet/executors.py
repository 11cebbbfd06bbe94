"""The local subnet's executors: real SSH servers that run real commands in scratch homes.

One process serves all of them, each on its own loopback address with its own persisted ed25519 host key and
its own authorized keys. A session's command runs as a process group of its own and dies with its channel, its
connection, the server, and (on Linux) with this process even when that is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import asyncssh
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployments.miner.keys import KeysFileRefused, read_authorized

ANNOUNCED_PYTHON = "/opt/subnet/bin/python"
"""What every local executor announces as its interpreter; it stands for `bin/python` in the machine's home."""
USER = "subnet"
LOGIN_DEADLINE_S = 10.0
GRACE_S = 0.5
REAP_DEADLINE_S = 2.0
CHUNK_BYTES = 64 * 1024
REKEY_BYTES = 1 << 36
"""As late as OpenSSH's server does, whom it stands for."""

_PYTHON_CALL = re.compile(r"^(exec )?(['\"]?)" + re.escape(ANNOUNCED_PYTHON) + r"\2(?=\s|$)")

_Source: TypeAlias = "asyncio.StreamReader | asyncssh.SSHReader[bytes]"
_Sink: TypeAlias = "asyncio.StreamWriter | asyncssh.SSHWriter[bytes]"


@dataclass(frozen=True, slots=True)
class Machine:
    """One executor's host: where it listens, who gets in, and where its commands run."""

    executor_id: str
    address: str
    port: int
    home: Path
    host_key: Path
    """The private key that the server really answers with, OpenSSH PEM."""
    authorized_keys: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the session's own HOME, PATH and so on."""
    hangs: bool = False
    """Accept every session and never answer."""


@contextlib.asynccontextmanager
async def serve_machines(machines: Sequence[Machine]) -> AsyncIterator[tuple[int, ...]]:
    """Listen for all machines; gives their ports, and ends every session and process on the way out."""
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    hosts = [_Host(machine) for machine in machines]
    try:
        yield tuple([await host.start() for host in hosts])
    finally:
        await asyncio.gather(*(host.stop() for host in hosts))


def make_host_key(path: Path) -> None:
    """Write a fresh ed25519 private key in OpenSSH PEM, readable by its owner only; keep one that is there."""
    if path.exists():
        return
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(pem)
    partial.replace(path)


def public_key_blob(path: Path) -> bytes:
    """The 51 bytes of the public half, in SSH's wire form."""
    return bytes(asyncssh.read_private_key(path).public_data)


class KeyDoor(asyncssh.SSHServer):
    """Lets in who holds a key of the file that has not expired at this very moment."""

    def __init__(self, authorized_keys: Path) -> None:
        self._authorized_keys = authorized_keys

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002  asyncssh's signature
        """Ask everybody for a key."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys are the one way in."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether this user's key is in the file, and unexpired."""
        try:
            admitted = read_authorized(self._authorized_keys, datetime.now(UTC))
        except KeysFileRefused:
            return False
        return username == USER and key.public_data in admitted


class _Host:
    """One listening machine with the processes of its sessions."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen; gives the port."""
        self._acceptor = await asyncssh.create_server(
            lambda: _Door(self._machine, self._connections),
            self._machine.address,
            self._machine.port,
            server_host_keys=[asyncssh.read_private_key(self._machine.host_key)],
            process_factory=self._run,
            encoding=None,
            allow_pty=False,
            line_editor=False,
            x11_forwarding=False,
            agent_forwarding=False,
            login_timeout=LOGIN_DEADLINE_S,
            compression_algs=None,
            rekey_bytes=REKEY_BYTES,
            server_version="OpenSSH_9.6",
        )
        return int(self._acceptor.get_port())

    async def stop(self) -> None:
        """Close the door, drop every connection, and wait until each session's processes are gone."""
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in tuple(self._connections):
            connection.abort()
        for session in tuple(self._sessions):
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await _serve_session(self._machine, process)
        finally:
            self._sessions.discard(task)


class _Door(KeyDoor):
    """A door that knows who is in, so that stopping ends their connections."""

    def __init__(self, machine: Machine, connections: set[asyncssh.SSHServerConnection]) -> None:
        super().__init__(machine.authorized_keys)
        self._connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Remember the connection."""
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncssh's signature
        """Forget the connection."""
        self._connections.discard(self._connection)


async def _serve_session(machine: Machine, process: asyncssh.SSHServerProcess[bytes]) -> None:
    if machine.hangs:
        await process.channel.wait_closed()
        return
    if process.command is None or process.subsystem is not None:
        process.exit(1)
        return
    child = await _start(machine, process.command)
    relay = asyncio.create_task(_relay(child, process))
    closed = asyncio.create_task(process.channel.wait_closed())
    try:
        await asyncio.wait({relay, closed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        relay.cancel()
        closed.cancel()
        await _to_its_end(_end_group(child, relay, closed))


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Wait until it is done, also when cancelled meanwhile: whoever stops the server waits for the processes too."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _start(machine: Machine, command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *_dying_with_parent(),
        "/bin/sh",
        "-c",
        _PYTHON_CALL.sub(r'\1"$HOME/bin/python"', command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=CHUNK_BYTES,
        cwd=machine.home,
        env=session_environment(machine),
        start_new_session=True,
    )


def _dying_with_parent() -> tuple[str, ...]:
    """A prefix by which the kernel kills the command when this process is gone; Linux's own tool, or nothing."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def session_environment(machine: Machine) -> dict[str, str]:
    """What the commands of a machine's sessions find in their environment."""
    home = str(machine.home)
    return {
        "HOME": home,
        "USER": USER,
        "LOGNAME": USER,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "PATH": f"{home}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "TMPDIR": f"{home}/scratch",
        **machine.environment,
    }


async def _relay(child: asyncio.subprocess.Process, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Carry bytes both ways until the command has ended and said everything, then tell its exit code."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    feed = asyncio.create_task(_pump(process.stdin, child.stdin))
    try:
        await asyncio.gather(_pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr))
        code = await child.wait()
        process.exit(code if code >= 0 else 128 - code)
    finally:
        feed.cancel()


async def _pump(source: _Source, sink: _Sink) -> None:
    """Move bytes until the source ends or either side is gone; a command's stdin is closed then."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
        if isinstance(sink, asyncio.StreamWriter):
            sink.close()


async def _end_group(child: asyncio.subprocess.Process, *cancelled: asyncio.Task[None]) -> None:
    """Close the command's stdin, which ends a runner with all that it started; then kill its process group.

    First the cancelled tasks are waited for, in here: a second cancellation must find nothing but this to wait for.
    """
    assert child.stdin is not None
    await asyncio.gather(*cancelled, return_exceptions=True)
    child.stdin.close()
    rest = asyncio.gather(_discard(child.stdout), _discard(child.stderr), child.wait())
    await asyncio.wait({rest}, timeout=GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    await asyncio.wait({rest}, timeout=REAP_DEADLINE_S)
    rest.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await rest


async def _discard(source: asyncio.StreamReader | None) -> None:
    """Read to the end: asyncio reaps a process only once its pipes are empty."""
    assert source is not None
    while await source.read(CHUNK_BYTES):
        pass
