"""The miner's own way into its machines: what it types, its SSH key, and the machines' host keys, pinned at first use.

    machine = looked_up(parse_machine("root@203.0.113.7:2222"))
    pins = Pins(folder / "known_hosts")           OpenSSH's own format: `ssh -o UserKnownHostsFile=` reads it too
    pins.of(machine)                              the pinned key, None at a first meeting

A host key that is not the pinned one ends it, as with `ssh`: only the miner takes a line out of that file.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko import Ed25519Key

from tasks.edges.shell import HOST_KEY_PREFIX, EpochKey, Shell
from tasks.errors import BadAnswer, HostAway, HostKeyMismatch, SettingError
from tasks.offering.files import locked, replace_whole
from tasks.onboarding.machine import Machine, is_address

MAX_KEY_BYTES = 65_536
NO_KEY = HOST_KEY_PREFIX + bytes(32)
"""Nobody's: no honest server has a key of zeros."""


def looked_up(machine: Machine) -> Machine:
    """With its literal address; HostAway when the name has none."""
    if is_address(machine.name):
        return replace(machine, address=machine.name)
    try:
        found = socket.getaddrinfo(machine.name, machine.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter: no name of the DNS, such as `a..b`
        raise HostAway("lookup", f"no address for {machine.name}: {error}") from None
    return replace(machine, address=str(found[0][4][0]))


def load_ssh_key(file: Path, passphrase: str | None = None) -> EpochKey:
    """The miner's own key for its machines; SettingError when it is none, or not of the kind that we use."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_KEY_BYTES)
        secret = passphrase.encode() if passphrase else None
        key = serialization.load_ssh_private_key(data, secret)
    except OSError as error:
        raise SettingError("--key", str(file), f"a file that can be read ({error.strerror})") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        told = "an OpenSSH private key" + (" that this passphrase opens" if passphrase else "")
        raise SettingError("--key", str(file), told) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingError("--key", str(file), "an ed25519 key; `ssh-keygen -t ed25519` makes one")
    form = serialization.PrivateFormat.OpenSSH
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return EpochKey(public.decode(), Ed25519Key(file_obj=StringIO(pem)))


def needs_passphrase(file: Path) -> bool:
    """Whether the key is encrypted; whatever else is wrong with it is told when it is loaded."""
    try:
        serialization.load_ssh_private_key(file.read_bytes()[:MAX_KEY_BYTES], None)
    except TypeError:
        return True
    except (OSError, ValueError, UnsupportedAlgorithm):
        return False
    return False


def meet(shell: Shell, machine: Machine, key: EpochKey, *, deadline: float) -> bytes:
    """The host key that answers there. Nothing proves it is the machine's: whoever pins it has it compared by a human."""
    try:
        shell.open(machine.executor(NO_KEY), key, deadline=deadline).close()
    except HostKeyMismatch as error:
        return error.got
    raise BadAnswer("handshake: a host key of zeros, which is nobody's")


def fingerprint(host_key: bytes) -> str:
    """As `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` shows it on the machine."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(host_key).digest()).decode().rstrip("=")


class Pins:
    """Host keys by machine, in a file that only its owner writes; threads may share it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()

    def of(self, machine: Machine) -> bytes | None:
        """The pinned key; SettingError when the file can't be read."""
        return self._read().get(machine.label)

    def pin(self, machine: Machine, host_key: bytes) -> None:
        """Keep it from now on, beside whatever else the file holds."""
        line = f"{machine.label} ssh-ed25519 {base64.b64encode(host_key).decode()}\n"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._held():
            if self._read().get(machine.label) == host_key:
                return
            held = self.file.read_text(encoding="utf-8") if self.file.exists() else ""
            end = "" if not held or held.endswith("\n") else "\n"  # an editor's last line may have none
            replace_whole(self.file, f"{held}{end}{line}".encode())

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Against this process's other threads, and against other processes."""
        try:
            with self._lock, locked(self.file):
                yield
        except OSError as error:
            wanted = f"a file that can be replaced ({error.strerror})"
            raise SettingError("known_hosts", str(self.file), wanted) from None

    def _read(self) -> dict[str, bytes]:
        try:
            lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(
                "known_hosts", str(self.file), f"a text file that can be read ({error})"
            ) from None
        found: dict[str, bytes] = {}
        for words in (line.split() for line in lines if not line.startswith("#")):
            if len(words) >= 3 and words[1] == "ssh-ed25519":
                try:
                    key = base64.b64decode(words[2], validate=True)
                except ValueError:
                    # Not passed over: the machine would be a stranger again.
                    raise SettingError(
                        "known_hosts", " ".join(words)[:100], f"a key in base64, in {self.file}"
                    ) from None
                for label in words[0].split(","):
                    found.setdefault(label, key)
        return found


def soon(seconds: float) -> float:
    """An instant of `time.monotonic()` that many seconds from now."""
    return time.monotonic() + seconds
