"""Files that others read while we write them: one writer at a time, replaced whole, with their owner and mode kept."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

LOCK_WAIT_S = 5.0


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file against everybody else of ours; TimeoutError, an OSError, when another holds it too long."""
    # The lock has its own file: the file itself is replaced by rename, and a lock on it would go with the old one.
    lock = path.with_name(f".{path.name}.lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _wait_for_lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def replace_whole(path: Path, text: bytes) -> None:
    """Put a text in a file's place, of the same owner and mode: whoever reads sees the old one or the new one."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        _keep_owner_and_mode(path, descriptor)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def _wait_for_lock(descriptor: int) -> None:
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(errno.ETIMEDOUT, f"locked for over {LOCK_WAIT_S:g} s") from None
            time.sleep(0.01)
        else:
            return


def _keep_owner_and_mode(path: Path, descriptor: int) -> None:
    # sshd ignores a file that its user does not own: a new one belongs to whoever owns the folder.
    try:
        before = path.stat()
        mode = stat.S_IMODE(before.st_mode)
    except FileNotFoundError:
        before, mode = path.parent.stat(), 0o600
    os.fchmod(descriptor, mode)
    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()) and os.geteuid() == 0:
        os.fchown(descriptor, before.st_uid, before.st_gid)
