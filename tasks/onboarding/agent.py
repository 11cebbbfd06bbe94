"""The miner's agent as a process on this computer: started once, found again, stopped; it outlives whoever started it.

FOLDER/agent.lock       held by the agent itself for as long as it lives, whoever asks and whatever was killed
FOLDER/agent.json       its process id and the words that it was started with, written by the agent's own first lines
FOLDER/agent.log        what it says
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.errors import SubnetError

START_S, STOP_S, POLL_S = 60.0, 20.0, 0.1
LOG_TAIL_BYTES = 600
MAX_LOG_BYTES = 10_000_000
EVERYWHERE = "::"
"""Where an agent listens at every address of this computer, of both kinds; of IPv4 where there is no other."""
PROGRAM = Path(sys.executable).with_name("subnet")
# The lock's descriptor goes on to the agent: the kernel lets go of it when the agent is dead, not before.
_FIRST_LINES = (
    "import json,os,sys;"
    "path,*words=sys.argv[1:];"
    "os.chdir(os.path.dirname(path));"
    "draft=path+'.new';"
    "open(draft,'w').write(json.dumps({'pid':os.getpid(),'words':words}));"
    "os.replace(draft,path);"
    "os.execv(words[0],words)"
)


class AgentProcess:
    """The agent of one folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str], program: Path = PROGRAM) -> None:
        self.folder, self._environment, self._program = folder, dict(environment), program
        self.log = folder / "agent.log"

    def running(self) -> tuple[str, ...] | None:
        """The words that it was started with; None when none runs."""
        return self._told()[1] if self._is_held() else None

    def ensure(self, arguments: Sequence[str]) -> bool:
        """Have it run with these arguments; False when it does so already. One with other arguments is stopped first."""
        words = (str(self._program), *arguments)
        found = self.running()
        if found == words:
            return False
        if found is not None:
            self.stop()
        self._start(words)
        return True

    def stop(self) -> bool:
        """End it, politely and then for sure; False when none ran."""
        if self.running() is None:
            return False
        for number, patience_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._told()[0], number)
            end = time.monotonic() + patience_s
            while time.monotonic() < end:
                if self.running() is None:
                    return True
                time.sleep(POLL_S)
        raise SubnetError(f"the agent of {self.folder} does not end")

    def last_words(self) -> str:
        """The end of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - LOG_TAIL_BYTES))
                return file.read(LOG_TAIL_BYTES).decode(errors="replace").strip()
        except OSError:
            return ""

    def _start(self, words: Sequence[str]) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        lock = os.open(self.folder / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _taken(lock):
                return  # another run has just started it
            told = self.folder / "agent.json"
            told.unlink(missing_ok=True)
            os.set_inheritable(lock, True)  # noqa: FBT003  it takes no names
            with self.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
                os.posix_spawn(
                    sys.executable,
                    [sys.executable, "-I", "-c", _FIRST_LINES, str(told), *words],
                    self._environment,
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                        (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                        (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                    ],
                    setsid=True,
                )
        finally:
            os.close(lock)

    def _told(self) -> tuple[int, tuple[str, ...]]:
        """Process id and words of the agent that holds the lock: it says so in its first moments."""
        end = time.monotonic() + 5.0
        while True:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                told = json.loads((self.folder / "agent.json").read_text(encoding="utf-8"))
                return int(told["pid"]), tuple(map(str, told["words"]))
            if time.monotonic() > end:
                raise SubnetError(f"an agent of {self.folder} runs and does not say who it is")
            time.sleep(POLL_S)

    def _is_held(self) -> bool:
        try:
            lock = os.open(self.folder / "agent.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # who looks is in nobody's way who looks, too
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False


def _taken(lock: int) -> bool:
    """Whether the lock became ours; a look at it by another process lasts a moment."""
    end = time.monotonic() + 2.0
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        else:
            return True
