"""Where hands come from: processes of this machine, one a core, or threads of this process for a look without any."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from mmap import mmap
from pathlib import Path

from gevent.hub import get_hub

from tasks.crew.foreman import Recruit
from tasks.crew.hand import serve
from tasks.crew.station import Suspect

STREAM_BYTES = 1 << 26
"""What of a hand's frames waits for us; a frame that is larger is read in pieces."""
END_S = 3.0
COLLECTED_AT = 20_000
"""Objects of a hand's that are made and not freed before circles are looked for: some ten sessions'."""
_PR_SET_PDEATHSIG = 1
_PAGE_BYTES = resource.getpagesize()
REPOSITORY = Path(__file__).parents[2]
PASSED_ON = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV")
PASSED_ON_PREFIXES = ("LC_", "NUMBA_", "PYTHON")


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """What a hand gets of our environment: how Python runs, and nothing of the validator's settings and secrets."""
    return {
        name: value
        for name, value in environment.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }


class ProcessGrip:
    """A child process, with the memory that it notes its machine in."""

    def __init__(self, process: subprocess.Popen[bytes], memory: mmap, most_bytes: int) -> None:
        self._process, self._most_bytes = process, most_bytes
        self.suspect = Suspect(memory)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def fault(self) -> str:
        """That it has ended, or holds too much memory."""
        if (code := self._process.poll()) is not None:
            return f"it ended with {code}"
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError, ValueError):
            return ""  # not Linux, or it has just ended
        held = pages * _PAGE_BYTES
        return f"it held {held >> 20} MiB" if held > self._most_bytes else ""

    def kill(self) -> None:
        """For good, and the zombie with it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0)
            return
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)


class Processes:
    """Hands that are children of this process."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._grips: list[ProcessGrip] = []

    async def hire(self, count: int) -> Sequence[Recruit]:
        """Start them side by side."""
        return [await self._start() for _ in range(count)]

    async def dismiss(self) -> None:
        """They end with their connection; who does not is killed."""
        for _ in range(int(END_S / 0.02)):
            if all(grip.fault() for grip in self._grips):
                break
            await asyncio.sleep(0.02)
        for grip in self._grips:
            grip.kill()

    async def _start(self) -> Recruit:
        ours, theirs = socket.socketpair()
        note = os.memfd_create("suspect")
        try:
            os.ftruncate(note, resource.getpagesize())
            memory = mmap(note, resource.getpagesize())
            process = subprocess.Popen(  # noqa: S603, ASYNC220  our own module, started in a millisecond
                [
                    sys.executable,
                    "-m",
                    "tasks.crew",
                    str(theirs.fileno()),
                    str(note),
                    str(self._most_bytes),
                ],
                pass_fds=(theirs.fileno(), note),
                cwd=REPOSITORY,
                env=surroundings(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        finally:
            theirs.close()
            os.close(note)
        grip = ProcessGrip(process, memory, self._most_bytes)
        self._grips.append(grip)
        reader, writer = await asyncio.open_connection(sock=ours, limit=STREAM_BYTES)
        return Recruit(reader, writer, grip)


class ThreadGrip:
    """A thread can't be killed: it ends with its connection."""

    def __init__(self) -> None:
        self.suspect = Suspect()

    def fault(self) -> str:
        """Nobody can tell."""
        return ""

    def kill(self) -> None:
        """Nothing: see above."""


class Threads:
    """Hands that are threads of this process."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    async def hire(self, count: int) -> Sequence[Recruit]:
        """Start them."""
        return [await self._start() for _ in range(count)]

    async def dismiss(self) -> None:
        """They end with their connection."""
        for thread in self._threads:
            await asyncio.to_thread(thread.join, END_S)

    async def _start(self) -> Recruit:
        ours, theirs = socket.socketpair()
        grip = ThreadGrip()
        thread = threading.Thread(target=_serve_here, args=(theirs, grip.suspect), name="hand", daemon=True)
        thread.start()
        self._threads.append(thread)
        reader, writer = await asyncio.open_connection(sock=ours, limit=STREAM_BYTES)
        return Recruit(reader, writer, grip)


def _serve_here(sock: socket.socket, suspect: Suspect) -> None:
    try:
        serve(sock, suspect)
    finally:
        sock.close()
        get_hub().destroy(destroy_loop=True)


def serve_as_process(number: int, note: int, most_bytes: int) -> None:
    """Be a hand in a process of its own, which ends with its connection."""
    _die_with_parent()
    # Ctrl-C is for the flow: it ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Twice what it is killed for: an allocation that would take the machine down fails at once.
    resource.setrlimit(resource.RLIMIT_DATA, (2 * most_bytes, 2 * most_bytes))
    memory = mmap(note, resource.getpagesize())
    # What was imported stays; sessions that end in circles may be many before they are looked for.
    gc.freeze()
    gc.set_threshold(COLLECTED_AT)
    serve(socket.socket(fileno=number), Suspect(memory))


def _die_with_parent() -> None:
    """Have the kernel end this process when the flow is killed: one that hangs hears no end of its connection."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it died before the kernel knew
