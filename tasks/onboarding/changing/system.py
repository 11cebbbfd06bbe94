"""Programs that are run, and processes that run already."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tasks.onboarding.changing.journal import WORDS, Failed

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ASKING_S, ENDING_S = 1.0, 5.0
QUICK_S = 60
REMOVING_S = 900


def processes() -> list[int]:
    """All of them."""
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def lines_of(path: str) -> list[str]:
    """Of a file of /proc, none when it is gone."""
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []


def title_of(pid: int) -> str:
    """A process' words, as it shows them."""
    return " ".join(lines_of(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()


def is_program(pid: int, program: str) -> bool:
    """Whether it is this program, serving."""
    return title_of(pid).endswith(f"{program} serve")


def parent_of(pid: int) -> int:
    """0 when it is gone."""
    words = "".join(lines_of(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(words[1]) if len(words) > 1 else 0


def owner_of(pid: int) -> int:
    """-1 when it is gone."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return -1


def end_all(is_meant: Callable[[int], bool]) -> None:
    """Ask them to end until there is none, and then make them."""
    began = time.monotonic()
    while left := [pid for pid in processes() if is_meant(pid) and not is_dead(pid)]:
        took_s = time.monotonic() - began
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if took_s < ASKING_S else signal.SIGKILL)
        if took_s > ENDING_S:
            return
        time.sleep(0.05)


def is_dead(pid: int) -> bool:
    """Whether it only waits to be asked for its status."""
    words = "".join(lines_of(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return not words or words[0] == "Z"


def delete(path: str) -> None:
    """A folder with all that is in it, however deep others made it: Python's own way of it recurses."""
    if os.path.lexists(path):
        tool(["rm", "-rf", "--one-file-system", "--", path], REMOVING_S)


def need(program: str, code: str = "TOOL_MISSING") -> None:
    """The code when there is no such program."""
    if shutil.which(program, path=PATH) is None:
        raise Failed(code, f"there is no {program}")


def tool(command: list[str], timeout_s: float = QUICK_S) -> None:
    """One that has to succeed."""
    done = run(command, timeout_s)
    if done.returncode != 0:
        raise Failed("TOOL_FAILED", f"{' '.join(command)}: {done.stdout[-WORDS:]}")


def run(
    command: list[str], timeout_s: float = QUICK_S, *, scratch: str = ""
) -> subprocess.CompletedProcess[str]:
    """A program with these words; what it prints is bounded by its time only, and what is told of it by `WORDS`.

    `scratch`: a folder for its temporary files, made here; else they are where the machine has them, and stay when it is killed.
    """
    environment = dict(os.environ, PATH=PATH, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    if scratch:
        Path(scratch).mkdir(mode=0o700, parents=True, exist_ok=True)
        environment["TMPDIR"] = scratch
    try:
        return subprocess.run(  # noqa: S603  words of ours: no shell reads them
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=timeout_s,
            check=False,
            encoding="utf-8",
            errors="replace",
            cwd="/",
        )
    except (FileNotFoundError, NotADirectoryError):
        return subprocess.CompletedProcess(command, 127, f"{command[0]}: not found")


def is_systemd() -> bool:
    """Whether it runs this machine."""
    return Path("/run/systemd/system").is_dir()
