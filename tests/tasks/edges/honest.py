"""An honest executor for tests: a real SSH server on a loopback address that runs real commands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from storage.records import Executor
from tasks.edges.shell import EpochKey

USER = "subnet"


@dataclass
class Host:
    """A server that runs in its own thread; `commands` is what clients asked it to execute."""

    port: int
    host_key: bytes
    home: Path
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    pids: list[int] = field(default_factory=list)

    def executor(self, **changes: object) -> Executor:
        """What its miner would announce."""
        told: dict[str, object] = {
            "executor_id": "one",
            "miner_hotkey": "5Miner",
            "miner_uid": 1,
            "miner_registered_at_block": 1,
            "address": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "python": sys.executable,
            "host_key": self.host_key,
            "price_usd_per_hour": 1.0,
        }
        return Executor(**(told | changes))  # type: ignore[arg-type]


@contextlib.contextmanager
def serving(key: EpochKey, home: Path) -> Iterator[Host]:
    """Serve until the end of the block, and end every process that was started."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="honest-host", daemon=True)
    thread.start()
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    host = Host(0, host_key.public_data, home)
    acceptor = asyncio.run_coroutine_threadsafe(_listen(host, host_key, key), loop).result(10)
    try:
        yield host
    finally:
        asyncio.run_coroutine_threadsafe(_stop(acceptor), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _listen(host: Host, host_key: asyncssh.SSHKey, key: EpochKey) -> asyncssh.SSHAcceptor:
    class Door(asyncssh.SSHServer):
        def connection_made(self, _: asyncssh.SSHServerConnection) -> None:
            host.connections += 1

    async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
        await _run(host, process)

    acceptor = await asyncssh.create_server(
        Door,
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(key.public_line),
        process_factory=run,
        encoding=None,
    )
    host.port = acceptor.get_port()
    return acceptor


async def _run(host: Host, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """As a login shell does: the command line is the shell's, stdin, stdout and stderr are the channel's."""
    host.commands.append(process.command or "")
    child = await asyncio.create_subprocess_shell(
        process.command or "",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=host.home,
        env={"HOME": str(host.home), "PATH": os.environ["PATH"]},
        start_new_session=True,
    )
    host.pids.append(child.pid)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    feeding = asyncio.create_task(_pump(process.stdin, child.stdin, is_closed_after=True))
    try:
        await asyncio.gather(_pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr))
        process.exit(await child.wait())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        feeding.cancel()
        await child.wait()


async def _pump(
    source: asyncssh.SSHReader[bytes] | asyncio.StreamReader,
    sink: asyncssh.SSHWriter[bytes] | asyncio.StreamWriter,
    *,
    is_closed_after: bool = False,
) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    if is_closed_after:
        sink.close()


async def _stop(acceptor: asyncssh.SSHAcceptor) -> None:
    acceptor.close()
    await acceptor.wait_closed()
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    await asyncio.sleep(0)
