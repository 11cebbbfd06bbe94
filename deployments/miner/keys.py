"""Letting a validator's keys in on an executor: few lines a validator in an `authorized_keys` file, with an expiry.

    restrict,expiry-time="20261122093000Z" ssh-ed25519 AAAA... subnet:<validator hotkey>:<epoch>

Lines of exactly this form are ours: expired ones, and the same validator's oldest of many, go when a key is let in.
Every other line stays byte for byte. OpenSSH understands the Z from 9.1 on (an older sshd lets nobody in).
"""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

from tasks.edges.wire import blob_of_line, is_key_line
from tasks.errors import SubnetError
from tasks.offering.files import locked, replace_whole
from tasks.onboarding.confinement.grants import LINE, STAMP, Grant

MAX_FILE_BYTES = 1024 * 1024
MAX_LINES = 8
"""Of one validator."""


class KeysFileRefused(SubnetError):
    """The file may not or cannot be written: a link, too large, held too long, or the system says no."""


def let_in(path: Path, grant: Grant, *, now: datetime) -> bool:
    """Add the line to the validator's; False when it is there already. KeysFileRefused otherwise.

    A validator comes with a key for its epoch and others for its leases: of more than `MAX_LINES` the oldest go.
    """
    line = grant.line()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path):
            old = _read(path)
            new = _with_line(old, line, grant.hotkey, now)
            if new != old:
                replace_whole(path, new)
    except OSError as error:
        raise KeysFileRefused(f"{path.name}: {error.strerror}") from None
    return new != old


def read_authorized(path: Path, now: datetime) -> list[bytes]:
    """The public keys (51 wire bytes each) that our lines let in now; none when there is no file."""
    try:
        text = _read(path)
    except OSError as error:
        raise KeysFileRefused(f"{path.name}: {error.strerror}") from None
    ours = (LINE.fullmatch(line) for line in text.splitlines(keepends=True))
    valid = (match["key"].decode("ascii") for match in ours if match and _expiry(match) > now)
    return [blob_of_line(line) for line in valid if is_key_line(line)]


def _with_line(text: bytes, line: bytes, hotkey: str, now: datetime) -> bytes:
    kept = [old for old in text.splitlines(keepends=True) if _stays(old, line, now)]
    if any(old.rstrip(b"\r\n") == line for old in kept):
        return b"".join(kept)
    own = [old for old in kept if (match := LINE.fullmatch(old)) and match["hotkey"] == hotkey.encode()]
    for oldest in own[: max(0, len(own) - MAX_LINES + 1)]:
        kept.remove(oldest)
    if kept and not kept[-1].endswith((b"\n", b"\r")):
        kept[-1] += b"\n"
    return b"".join([*kept, line + b"\n"])


def _stays(old: bytes, line: bytes, now: datetime) -> bool:
    match = LINE.fullmatch(old)
    return match is None or old.rstrip(b"\r\n") == line or _expiry(match) > now


def _expiry(match: re.Match[bytes]) -> datetime:
    try:
        return datetime.strptime(match["expiry"].decode("ascii"), STAMP).replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise KeysFileRefused(f"{path.name} is no regular file")
        text = file.read(MAX_FILE_BYTES + 1)
    if len(text) > MAX_FILE_BYTES:
        raise KeysFileRefused(f"{path.name} is over {MAX_FILE_BYTES} bytes")
    return text
