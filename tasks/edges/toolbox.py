"""The toolbox: an SSH server that starts in any container, even of an image that has none.

    toolbox = Toolbox.build()                           a zip archive of programs, once a process; SettingError
    path = install_toolbox(session, deadline=...)       its folder on a machine, sent only when it is not there
    host_key = HostKey.generate(); seed(host_key, keys) a tar archive for `Runtime.copy_in` before the start

In the archive are dropbear, OpenSSH's sftp-server, a static busybox, the loader and libraries of this machine's
packages, and two scripts: `init`, the container's first process, and `session`. The folder is mounted read-only.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.edges.shell import HOST_KEY_PREFIX, Session
from tasks.errors import SettingError, SpecRefused
from tasks.inspection.talk import install_tools

CACHE_FOLDER = "~/.cache/subnet/toolbox"
"""On a machine."""
MAX_KEYS, MAX_KEY_BYTES = 64, 8_192
"""Of a renter; one of ours may stand beside them."""
_PACKAGES = "apt install dropbear-bin busybox-static openssh-sftp-server"
_WHERE = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/lib/openssh:/usr/lib/ssh:/usr/libexec/openssh:/usr/lib"
_LIBRARY = re.compile(r"(?:^|\s)(/[^\s]+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_EPOCH = (1980, 1, 1, 0, 0, 0)
# No options in front: with them a key could name a command of its own, which our server does not read.
_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com) [A-Za-z0-9+/]{40,6000}={0,2}( [ -~]{0,200})?\Z"
)


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The archive, and the digest that names its folder."""

    archive: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """BLAKE2s of the archive."""
        return hashlib.blake2s(self.archive).hexdigest()

    @classmethod
    def build(cls) -> Self:
        """Pack this machine's programs; SettingError, naming the packages, when one is missing."""
        return cls(_archive())


@dataclass(frozen=True, slots=True)
class HostKey:
    """The ed25519 key by which a renter knows its container again; it lives as long as the lease."""

    private: bytes = field(repr=False)
    """32 bytes."""

    @classmethod
    def generate(cls) -> Self:
        """Make a fresh one."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def public(self) -> bytes:
        """The 32 bytes of the public half."""
        return Ed25519PrivateKey.from_private_bytes(self.private).public_key().public_bytes_raw()

    @property
    def public_blob(self) -> bytes:
        """In SSH's wire form: what a client compares."""
        return HOST_KEY_PREFIX + self.public

    @property
    def known_hosts_line(self) -> str:
        """`ssh-ed25519 AAAA...`: behind a host's name it is a line of known_hosts."""
        key = Ed25519PrivateKey.from_private_bytes(self.private).public_key()
        return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()

    @property
    def file(self) -> bytes:
        """As dropbear reads it: the name, and both halves in one string."""
        name = b"ssh-ed25519"
        return struct.pack(">I", len(name)) + name + struct.pack(">I", 64) + self.private + self.public


def install_toolbox(session: Session, cache_folder: str = CACHE_FOLDER, *, deadline: float) -> str:
    """Have the toolbox on a machine: its folder there. One round trip where it is already."""
    return install_tools(session, Toolbox.build().archive, cache_folder, deadline=deadline)


def seed(host_key: HostKey, keys: Sequence[str], ours: str = "") -> bytes:
    """What a container gets before its start: the host key, and the public keys that it lets in."""
    return _tar(
        [
            ("etc/subnet", None, 0o700),
            ("etc/subnet/host_key", host_key.file, 0o600),
            ("root/.ssh", None, 0o700),
            ("root/.ssh/authorized_keys", keys_file(keys, ours), 0o600),
        ]
    )


def keys_seed(keys: Sequence[str], ours: str = "") -> bytes:
    """The keys alone, for a container that stands still."""
    return _tar([("root/.ssh", None, 0o700), ("root/.ssh/authorized_keys", keys_file(keys, ours), 0o600)])


def keys_file(keys: Sequence[str], ours: str = "") -> bytes:
    """The text of an authorized_keys file: a renter's keys, and one of ours that does not count among them.

    SpecRefused for what is no public key, options included.
    """
    if len(keys) > MAX_KEYS:
        raise SpecRefused("keys", f"{len(keys)} keys", f"at most {MAX_KEYS}")
    lines = (*keys, ours) if ours else tuple(keys)
    for key in lines:
        if len(key) > MAX_KEY_BYTES or not _KEY.match(key):
            raise SpecRefused("key", key[:60], "one line of a public key such as ssh-ed25519 AAAA... name")
    return "".join(f"{key}\n" for key in dict.fromkeys(lines)).encode()


def find_program(name: str) -> Path:
    """Where one of the toolbox's programs is installed here; SettingError, naming the packages, when it is not."""
    found = shutil.which(name, path=_WHERE)
    if found is None:
        raise SettingError(name, "not installed", f"the program that goes into every container: {_PACKAGES}")
    return Path(found)


@cache
def _archive() -> bytes:
    """Level 1: packing must not be what a lease waits for, and it is sent to a machine once."""
    programs = {name: find_program(name) for name in ("dropbear", "sftp-server", "busybox")}
    if _libraries(programs["busybox"]):
        raise SettingError("busybox", str(programs["busybox"]), f"a static one: {_PACKAGES}")
    files = {name: path.read_bytes() for name, path in programs.items()}
    for library in {*_libraries(programs["dropbear"]), *_libraries(programs["sftp-server"])}:
        is_loader = library.name.startswith(("ld-linux", "ld-musl", "ld64"))
        files["loader" if is_loader else library.name] = library.read_bytes()
    here = Path(__file__).parent
    files |= {name: (here / f"toolbox_{name}.sh").read_bytes() for name in ("init", "session")}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED, compresslevel=1)
    return packed.getvalue()


def _libraries(program: Path) -> list[Path]:
    """What its loader loads, the loader itself too; nothing for a static one."""
    told = subprocess.run(  # noqa: S603  our own package's program
        ["/usr/bin/ldd", str(program)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    return [Path(found) for found in _LIBRARY.findall(told.stdout)]


def _tar(members: Sequence[tuple[str, bytes | None, int]]) -> bytes:
    """Folders (no content) and files, root's, with no time of their own."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content, mode in members:
            member = tarfile.TarInfo(name)
            member.mode, member.type = mode, tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
    return packed.getvalue()
