"""A renter's side of a container: keys of OpenSSH's own making, and its client, on real published ports."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import random
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deployments.processes import free_port
from tasks.edges.engine import Container, Image
from tasks.edges.runtime import Runtime
from tasks.edges.toolbox import HostKey, install_toolbox, seed
from tasks.renting.containers import ContainerSpec, Port, name_of
from tests.engines import PLAIN, EngineRig, executor, soon

_NUMBERS = itertools.count(1)


@dataclass
class Renter:
    """A key pair, and a folder for known hosts."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a renter", "-f", self.folder / "key"],
            check=True,
        )

    @property
    def key(self) -> str:
        """The public line."""
        return (self.folder / "key.pub").read_text().strip()


@dataclass
class Rented:
    """A container with an SSH port, as its renter sees it."""

    rig: EngineRig
    container: Container
    host_key: HostKey
    address: str
    port: int
    options: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.container.name

    def client(self, program: str, renter: Renter, host_key: HostKey | None = None) -> list[str]:
        """ssh, scp or sftp with this renter's key alone, and the host key pinned."""
        known = renter.folder / f"known_hosts.{self.name}"
        line = (host_key or self.host_key).known_hosts_line
        known.write_text(f"[{self.address}]:{self.port} {line}\n")
        pinned = [
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={known}",
            "GlobalKnownHostsFile=/dev/null",
        ]
        plain = ["IdentitiesOnly=yes", "BatchMode=yes", "ConnectTimeout=5", "LogLevel=ERROR"]
        options = [word for option in (*pinned, *plain) for word in ("-o", option)]
        port = "-p" if program == "ssh" else "-P"
        return self.rig.inside(
            program, "-F", "/dev/null", *options, "-i", str(renter.folder / "key"), port, str(self.port)
        )

    def ssh(
        self, renter: Renter, *words: str, stdin: str = "", host_key: HostKey | None = None, tty: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Log in and run a command, or a login shell that reads `stdin`; tried until the server is up."""
        command = [
            *self.client("ssh", renter, host_key),
            *(["-tt"] if tty else []),
            f"root@{self.address}",
            *words,
        ]
        until = soon(10)
        while True:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, timeout=30, check=False
            )
            is_early = "refused" in done.stderr or "reset" in done.stderr or "closed by" in done.stderr
            if done.returncode != 255 or not is_early or time.monotonic() > until:
                return done
            time.sleep(0.05)


def spec(**changes: object) -> ContainerSpec:
    """A container of the plain image with one card and an SSH port, a lease of its own."""
    told: dict[str, object] = {
        "lease_id": f"l-{next(_NUMBERS)}",
        "renter_id": "r-1",
        "image": PLAIN,
        "card_uuids": executor().card_uuids[:1],
        "words": ("sleep", "1000000"),
        "ports": (Port(22, free_port(0, executor().address)),),
        "publish_address": executor().address,
        "executor_key": "5Miner/one",
        "validator_hotkey": "5Validator",
    }
    return ContainerSpec(**(told | changes))  # type: ignore[arg-type]


@contextlib.contextmanager
def rented(
    rig: EngineRig,
    runtime: Runtime,
    wanted: ContainerSpec | None = None,
    *renters: Renter,
    image: Image | None = None,
    is_started: bool = True,
) -> Iterator[Rented]:
    """Made, seeded and started as the flows do it; removed at the end."""
    wanted = wanted or spec()
    image = image or runtime.image(wanted.image, deadline=soon())
    assert image is not None
    toolbox = install_toolbox(runtime.session, deadline=soon())
    host_key = HostKey.generate()
    runtime.create(wanted, image, toolbox, deadline=soon())
    container = runtime.inspect(name_of(wanted.lease_id, wanted.attempt), deadline=soon())
    assert container is not None
    try:
        runtime.copy_in(container.name, seed(host_key, [renter.key for renter in renters]), deadline=soon())
        if is_started:
            runtime.start(container.name, deadline=soon())
        yield Rented(rig, container, host_key, wanted.publish_address, wanted.ports[0].outside)
    finally:
        if runtime.session.is_alive:
            runtime.remove(container.name, deadline=soon())
        else:
            rig.run("rm", "--force", container.name)


def fill(target: io.BytesIO, rng: random.Random, big_bytes: int = 5 << 20) -> None:
    """A tar of a random tree: names with spaces, quotes, newlines, unicode, options; modes, links, empty ones, a big one."""
    names = [
        "a b",
        "--privileged",
        "$(id)",
        "`id`",
        "'\"",
        "ü\u202e",
        "new\nline",
        "x" * 200,
        ";|&",
        "*",
        "\\",
    ]
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        root = tarfile.TarInfo("volume")
        root.type, root.mode = tarfile.DIRTYPE, 0o711
        archive.addfile(root)
        folders = ["volume/"]
        for number, name in enumerate(names):
            folder = tarfile.TarInfo(f"{rng.choice(folders)}{name}")
            folder.type, folder.mode, folder.mtime = (
                tarfile.DIRTYPE,
                rng.choice([0o755, 0o700, 0o1777]),
                1_600_000_000,
            )
            archive.addfile(folder)
            folders.append(f"{folder.name}/")
            for part in range(8):
                content = rng.randbytes(rng.choice([0, 1, 4_095, 70_000]))
                file = tarfile.TarInfo(f"{folder.name}/{part} of {name}")
                file.size, file.mode = len(content), rng.choice([0o644, 0o600, 0o4755, 0o444])
                file.uid, file.gid, file.mtime = (
                    rng.choice([0, 1_000]),
                    rng.choice([0, 5]),
                    1_500_000_000 + number,
                )
                archive.addfile(file, io.BytesIO(content))
            link = tarfile.TarInfo(f"{folder.name}/link")
            link.type, link.linkname, link.mode = tarfile.SYMTYPE, f"../../{name}/nowhere", 0o777
            archive.addfile(link)
        big = tarfile.TarInfo("volume/big")
        big.size = big_bytes
        archive.addfile(big, io.BytesIO(rng.randbytes(big.size)))


def members(archive: bytes) -> dict[str, tuple[object, ...]]:
    """Everything that a tar says of its members, content by its hash."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            m.name: (
                m.type,
                m.mode & 0o7777,
                m.uid,
                m.gid,
                int(m.mtime) if m.isfile() else 0,
                m.linkname,
                hashlib.sha256(tar.extractfile(m).read()).hexdigest() if m.isfile() else "",
            )
            for m in tar.getmembers()
        }
