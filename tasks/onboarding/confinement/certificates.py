"""Letting a validator's key in by a certificate: short-lived, for one executor, signed by a key that its sshd trusts.

    miner.toml                 ssh_ca = "/etc/subnet/ca"                     ssh-keygen -t ed25519 -N '' -f /etc/subnet/ca
    the executor, once         restrict,cert-authority,principals="subnet-validate:rack1-a" ssh-ed25519 AAAA...

sshd itself holds validity, principal and forced command, so that a key is dead at its end though the agent be dead too,
and no line is added for any epoch. A certificate has no extension: no terminal, no forwarding, no file of the user's.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType

from tasks.errors import SettingError
from tasks.offering.files import locked
from tasks.onboarding.confinement.grants import Grant

SKEW_S = 60
"""A certificate is valid from so long ago: the executor's clock may be behind the agent's."""
MAX_FILE_BYTES = 16 * 1024
_WANTED = "an ed25519 private key without a passphrase, of mode 0600: ssh-keygen -t ed25519 -N '' -f FILE"


class Purpose(StrEnum):
    """What a certificate is good for; an executor has another line, and another user, for each."""

    VALIDATE = "validate"
    RENT = "rent"


@dataclass(frozen=True, slots=True)
class Authority:
    """The miner's own key for certificates, which executors trust."""

    key: Ed25519PrivateKey = field(repr=False)
    session: str = ""
    """Path of the program that sshd runs in the place of what is asked for, with `--until UNIX`; empty: none."""

    @classmethod
    def load(cls, path: Path, session: str = "") -> Self:
        """The key in this file; SettingError when it is no such key, or others may read it."""
        try:
            key = serialization.load_ssh_private_key(_read(path), password=None)
        except OSError as error:
            raise SettingError("ssh_ca", str(path), f"{_WANTED} ({error.strerror})") from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise SettingError("ssh_ca", str(path), _WANTED) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SettingError("ssh_ca", str(path), _WANTED)
        return cls(key, session)

    @classmethod
    def generate(cls) -> Self:
        """A fresh key, which lies nowhere yet."""
        return cls(Ed25519PrivateKey.generate())

    def save(self, path: Path) -> None:
        """Write the key where none is, for its owner alone, its public half beside it; SettingError when that can't be."""
        private = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH
        text = self.key.private_bytes(*private, serialization.NoEncryption())
        draft = path.with_name(f".{path.name}.new")
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with locked(path):
                if path.exists():
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                draft.unlink(missing_ok=True)
                with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                # The public half first: once the key has its name, nothing is left to do.
                public = path.with_name(f"{path.name}.pub")
                public.write_text(f"{self.public} {path.name}\n", encoding="utf-8")
                draft.replace(path)
        except OSError as error:
            wanted = f"a place for a new key ({error.strerror})"
            raise SettingError("ssh_ca", str(path), wanted) from None

    @property
    def public(self) -> str:
        """The public half: `ssh-ed25519 AAAA...`."""
        form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        return self.key.public_key().public_bytes(*form).decode("ascii")

    def line(self, executor_id: str, purpose: Purpose = Purpose.VALIDATE) -> str:
        """What the executor's authorized_keys file holds, once and for all."""
        return f'restrict,cert-authority,principals="{principal(executor_id, purpose)}" {self.public}'

    def issue(
        self, grant: Grant, executor_id: str, *, now: datetime, purpose: Purpose = Purpose.VALIDATE
    ) -> str:
        """The certificate of this key, in OpenSSH's one line."""
        key = serialization.load_ssh_public_key(grant.public_key.encode("ascii"))
        name = ":".join(filter(None, ("subnet", grant.hotkey, str(grant.epoch), grant.lease_id)))
        assert isinstance(key, Ed25519PublicKey)
        until = int(grant.expires_at.timestamp())
        builder = (
            SSHCertificateBuilder()
            .public_key(key)
            .type(SSHCertificateType.USER)
            .serial(secrets.randbits(63))
            .key_id(name.encode("ascii"))
            .valid_principals([principal(executor_id, purpose).encode("ascii")])
            .valid_after(int(now.timestamp()) - SKEW_S)
            .valid_before(until)
        )
        if self.session:
            command = f"{self.session} --until {until}"
            builder = builder.add_critical_option(b"force-command", command.encode("ascii"))
        return builder.sign(self.key).public_bytes().decode("ascii")


def principal(executor_id: str, purpose: Purpose) -> str:
    """As whom a certificate lets in."""
    return f"subnet-{purpose.value}:{executor_id}"


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise ValueError("no regular file, or one that others may read")
        return file.read(MAX_FILE_BYTES)
