"""What was there before each change, on the machine itself and on its disk before anything is changed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

JOURNAL = "/var/lib/subnet-onboarding.json"
LOCK = "/var/lib/subnet-onboarding.lock"
BUSY_S = 30.0
WORDS = 600
"""Characters of a program's last words."""

if TYPE_CHECKING:  # Python 3.8 can't make them
    Change = dict[str, Any]
    Entry = dict[str, Any]
    Left = list[tuple[str, str]]
    """What had to be left, and why."""
else:
    Change = Entry = dict
    Left = list


class Failed(Exception):
    """A change that can't be made: a stable code, and why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


class Journal:
    """What was there before, in the order of the changes."""

    def __init__(self, step: str = "") -> None:
        self.step = step
        self.entries: list[Entry] = []
        try:
            self.entries = json.loads(Path(JOURNAL).read_text())["entries"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            raise Failed("JOURNAL_BROKEN", f"{JOURNAL} is not what was written") from None

    def find(self, kind: str, key: str) -> Entry | None:
        """The entry of a change that was begun."""
        return next((e for e in self.entries if (e["kind"], e["key"]) == (kind, key)), None)

    def note(self, kind: str, key: str, **before: object) -> Entry:
        """Write down what is there now, unless it was done: only what was there first counts."""
        entry = self.find(kind, key)
        if entry is None:
            entry = {"step": self.step, "kind": kind, "key": key, **before}
            self.entries.append(entry)
            self.save()
        return entry

    def save(self) -> None:
        """The whole of it, on the disk."""
        replace_whole(JOURNAL, json.dumps({"version": 1, "entries": self.entries}, indent=1).encode(), 0o600)


class Work(NamedTuple):
    """What a change is made with."""

    journal: Journal
    is_dry: bool


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Nobody else's hand works here meanwhile, nor one whose session has died and that has not.

    The lock is a file that root alone can open: whoever may open a file may lock it. It is gone when nobody works here.
    """
    if os.statvfs(str(Path(LOCK).parent)).f_flag & os.ST_RDONLY:
        yield  # nothing can be changed there, and whatever tries is told so
        return
    end = time.monotonic() + BUSY_S
    while (lock := taken()) is None:
        if time.monotonic() > end:
            raise Failed("BUSY", "another onboarding works on this machine")
        time.sleep(0.2)
    try:
        yield
    finally:
        remove([LOCK])
        os.close(lock)


def taken() -> int | None:
    """The lock, None while another has it, or had it and took it away just now."""
    lock = os.open(LOCK, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), os.lstat(LOCK)):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """What the system says no to, by a code."""
    try:
        yield
    except subprocess.TimeoutExpired as late:
        raise Failed("TOO_SLOW", f"{late.cmd[0]} did not end within {late.timeout:g} s") from None
    except OSError as error:
        codes = {errno.EROFS: "READ_ONLY", errno.ENOSPC: "DISK_FULL", errno.EDQUOT: "DISK_FULL"}
        where = f"{error.filename}: " if error.filename else ""
        raise Failed(codes.get(error.errno or 0, "SYSTEM"), f"{where}{error.strerror}") from None
    except Failed:
        raise
    except Exception as error:  # noqa: BLE001  what nobody thought of is told too, and in nothing else's way
        raise Failed("SYSTEM", repr(error)[:WORDS]) from None


def temporary(path: str) -> str:
    """Beside it, always the same: what a kill left is overwritten."""
    return str(Path(path).with_name(f".{Path(path).name}.subnet-new"))


def replace_whole(path: str, data: bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
    """The file with this content, or as it was, and on the disk."""
    fresh = temporary(path)
    remove([fresh])
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        file.flush()
        os.fsync(descriptor)
    Path(fresh).replace(path)
    folder = os.open(str(Path(path).parent), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def absent(paths: tuple[str, ...]) -> list[str]:
    """Those that are not there."""
    return [path for path in paths if not os.path.lexists(path)]


def remove(paths: list[str]) -> None:
    """What a tool has left."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
