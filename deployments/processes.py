"""Child processes that never outlive us: own group, own log file, ended with their parent whatever happens to it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import SettingError, SubnetError

_PR_SET_PDEATHSIG = 1


class ChildDied(SubnetError):
    """A process that we need ended by itself; the tail of its log says why."""

    def __init__(self, name: str, exit_code: int, log: Path) -> None:
        super().__init__(f"{name} ended with exit code {exit_code}; the end of {log}:\n{tail(log)}")
        self.name, self.exit_code, self.log = name, exit_code, log


class ChildSlow(SubnetError):
    """A process that we need did not get ready in time."""

    def __init__(self, name: str, deadline_s: float, log: Path) -> None:
        super().__init__(f"{name} was not ready after {deadline_s:g} s; the end of {log}:\n{tail(log)}")
        self.name, self.deadline_s, self.log = name, deadline_s, log


@dataclass
class Child:
    """One child process in a group of its own."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until(self, is_ready: Callable[[], bool], deadline_s: float) -> None:
        """Poll `is_ready` until it holds; `ChildDied` or `ChildSlow` otherwise."""
        end = time.monotonic() + deadline_s
        while not is_ready():
            if (code := self.process.poll()) is not None:
                raise ChildDied(self.name, code, self.log)
            if time.monotonic() > end:
                raise ChildSlow(self.name, deadline_s, self.log)
            time.sleep(0.05)

    def stop(self, grace_s: float = 5.0) -> None:
        """End the whole group: politely, then for sure."""
        for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience_s)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def start(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    folder: Path,
    is_again: bool = False,
) -> Child:
    """Start `command` with its output in `log`, in its own group, tied to our life; `is_again` keeps what the log has."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab" if is_again else "wb") as output:
        process = subprocess.Popen(  # noqa: S603  the command is ours, no shell is involved
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  one call into libc, before any thread exists in the child
        )
    return Child(name, process, log)


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error's text."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(the log can't be read: {error.strerror})"


def asked_port(key: str, default: int) -> int:
    """The port that this variable of the environment names; SettingError when it is none."""
    text = os.environ.get(key, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 65_535:
        raise SettingError(key, text, "a port from 1 to 65535")
    return int(text)


def free_port(preferred: int, host: str = "127.0.0.1") -> int:
    """`preferred` when nobody listens on it, else one that the system picks."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SubnetError(f"no free port on {host}")


_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Linux only; elsewhere `stop` alone ends a child."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
