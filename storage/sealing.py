"""Secrets at rest: encrypted under a key that is in a file of its own, beside the database and never in it.

Every seal names what it belongs to, so that one renter's secrets can't be moved into another's lease by whoever can
write to the database but has no key.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from storage.errors import SealBroken, StorageError


class Sealer:
    """Seals and opens with one key; `of` reads its file, and makes it when there is none."""

    def __init__(self, key: bytes) -> None:
        self._fernet, self._key = Fernet(key), key

    @classmethod
    def of(cls, path: Path) -> Sealer:
        """The sealer of a key file, which only its owner may read; StorageError when it can't be used."""
        try:
            _make(path)
            if path.stat().st_mode & 0o077:
                raise StorageError(f"{path} may be read by others: `chmod 600` it")
            return cls(key_of(path))
        except OSError as error:
            raise StorageError(f"the key file {path} can't be used: {error.strerror}") from error
        except ValueError as error:
            raise StorageError(f"{path} holds no key: 32 bytes in url-safe base64") from error

    def seal(self, subject: str, values: Mapping[str, object]) -> bytes:
        """Encrypt what JSON can hold, for one subject; nothing to hide seals to nothing."""
        if not values:
            return b""
        return self._fernet.encrypt(json.dumps([subject, dict(values)]).encode())

    def open(self, subject: str, sealed: bytes) -> dict[str, object]:
        """What was sealed for this subject; SealBroken when it was not, or under another key."""
        if not sealed:
            return {}
        try:
            found, values = json.loads(self._fernet.decrypt(sealed))
        except (InvalidToken, ValueError):
            raise SealBroken(subject) from None
        if found != subject or not isinstance(values, dict):
            raise SealBroken(subject)
        return values

    def derived(self, purpose: str) -> bytes:
        """Another key of 32 bytes, for one purpose, that tells nothing about this one."""
        return hmac.digest(self._key, purpose.encode(), "sha256")


def key_of(path: Path) -> bytes:
    """What a key file holds."""
    return path.read_bytes().strip()


def _make(path: Path) -> None:
    """Make the key file whole or not at all: two processes that begin at once have one key."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(Fernet.generate_key())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was faster: its key is ours
    finally:
        draft.unlink()
