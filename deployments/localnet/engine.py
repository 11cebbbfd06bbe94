"""The local subnet's container engine: a Docker daemon of our own, which all local machines share.

    place = place_of(folder)                       where it is: pure; `place.host` is the machines' DOCKER_HOST
    with serve_engine(folder, cards, log) as engine: engine.wait()      EngineMissing says how to get one

Nothing of the system's own Docker is touched: bridge, socket, cgroup and data are ours. The daemon lives in a PID and a
mount namespace that end with it, and with whoever has started it, even by kill -9: no process, mount or socket of it
outlives that. What else a killed one leaves (its bridge, its run folder) is swept at the next start; its containers
start again then, as they do on a machine that was switched off. Containers have no way out to the internet.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from deployments.localnet import nvidia_hook
from deployments.localnet.cast import Cast
from deployments.localnet.engine_place import EnginePlace, place_of
from deployments.localnet.homes import sku_of, write_whole
from deployments.processes import Child, ChildDied, ChildSlow, start
from tasks.edges.toolbox import find_program
from tasks.errors import SettingError, SubnetError

PLAIN_IMAGE = "subnet/plain:1"
"""Busybox and nothing else: the image that every local subnet has, without a registry."""
READY_DEADLINE_S = 90.0
COMMAND_DEADLINE_S = 30.0
STOP_GRACE_S = 5.0
"""A container that is deaf to TERM has no longer: what is left then is killed with its namespace."""
PACKAGES = "apt install docker.io iproute2 busybox-static dropbear-bin openssh-sftp-server"
_TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NEEDED = ("dockerd", "containerd", "runc", "docker", "docker-proxy", "ip", "unshare", "mount")
# A system's containerd would be used in place of a private one, if its socket were seen.
_IN_NAMESPACE = 'mkdir -p /run/containerd && mount -t tmpfs subnet /run/containerd && exec "$@"'


class EngineMissing(SubnetError):
    """There can be no engine here; the text says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Card:
    """A simulated card, as the fake hook shows it."""

    name: str
    vram_mib: int


@dataclass
class LocalEngine:
    """The daemon, started; `wait` until it answers."""

    place: EnginePlace
    child: Child
    environment: Mapping[str, str] = field(repr=False)

    def begin_again(self) -> Child:
        """The daemon anew, after it was killed: its containers start again, as those of a machine that was switched off."""
        _clear(self.place)
        self.child = _begin(self.place, self.environment, self.child.log, is_again=True)
        return self.child

    def wait(self) -> str:
        """Until it answers and has the plain image; gives its version. EngineMissing where it can't be started."""
        try:
            self.child.wait_until(self._answers, READY_DEADLINE_S)
        except (ChildDied, ChildSlow) as error:
            raise EngineMissing(f"the Docker daemon did not start: {error}") from None
        if self._docker("image", "inspect", PLAIN_IMAGE).returncode:
            change = '--change=CMD ["sleep", "infinity"]'
            made = self._docker("import", change, "-", PLAIN_IMAGE, stdin=plain_root())
            if made.returncode:
                raise EngineMissing(f"no plain image: {made.stderr.decode(errors='replace')[-300:]}")
        return self._docker("version", "--format", "{{.Server.Version}}").stdout.decode().strip()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2.0)
            probe.connect(str(self.place.run / "docker.sock"))
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in probe.recv(64)
        return False

    def _docker(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603  our own words
            [find_tool("docker"), *words],
            input=stdin,
            capture_output=True,
            check=False,
            env={**self.environment, "DOCKER_HOST": self.place.host},
            timeout=COMMAND_DEADLINE_S,
        )


def cards_of(cast: Cast) -> dict[str, Card]:
    """Every card that a machine of the cast lists, by its UUID."""
    return {
        uuid: Card(executor.model, sku_of(executor.model).nominal_mib)
        for executor in cast.executors
        for uuid in executor.card_uuids
    }


def why_missing() -> str:
    """What stands in an engine's way here, and the mend; empty when nothing does."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a Docker daemon of our own needs root on Linux: run it as root, e.g. in a container or virtual machine"
    missing = [name for name in _NEEDED if shutil.which(name, path=_TOOL_PATH) is None]
    return f"{', '.join(missing)} not installed: {PACKAGES}" if missing else ""


def find_tool(name: str) -> str:
    """The path of a program that `why_missing` has found."""
    found = shutil.which(name, path=_TOOL_PATH)
    if found is None:
        raise EngineMissing(f"{name} is not installed: {PACKAGES}")
    return found


@contextlib.contextmanager
def serve_engine(folder: Path, cards: Mapping[str, Card], log: Path) -> Iterator[LocalEngine]:
    """Start the daemon of this folder, and stop it at the end, its containers with it; EngineMissing when it can't be."""
    if reason := why_missing():
        raise EngineMissing(reason)
    place = place_of(folder)
    for needed in (place.folder, place.folder / "bin"):
        needed.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(place))
        stack.callback(_sweep, place)
        _clear(place)
        _install_hook(place, cards)
        environment = _environment(place)
        engine = LocalEngine(place, _begin(place, environment, log, is_again=False), environment)
        stack.callback(lambda: engine.child.stop(STOP_GRACE_S))
        yield engine


def _clear(place: EnginePlace) -> None:
    """Room for a daemon: nothing of an earlier one, and the bridge."""
    _sweep(place)
    place.run.mkdir(mode=0o700)
    _add_bridge(place)


def _begin(place: EnginePlace, environment: Mapping[str, str], log: Path, *, is_again: bool) -> Child:
    return start(
        "container engine",
        _command(place),
        log=log,
        environment=environment,
        folder=place.folder,
        is_again=is_again,
    )


def plain_root() -> bytes:
    """A root of busybox alone, as a tar archive."""
    busybox = find_program("busybox")
    names = subprocess.run([str(busybox), "--list"], capture_output=True, check=True).stdout.decode().split()  # noqa: S603
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for folder in ("bin", "dev", "etc", "proc", "run", "sys", "usr", "usr/bin", "var", "var/log"):
            _add(archive, folder, None, 0o755)
        _add(archive, "root", None, 0o700)
        _add(archive, "tmp", None, 0o1777)
        _add(archive, "bin/busybox", busybox.read_bytes(), 0o755)
        _add(archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644)
        _add(archive, "etc/group", b"root:x:0:\n", 0o644)
        _add(archive, "etc/shells", b"/bin/sh\n", 0o644)
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
    return packed.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes | None, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.type = mode, tarfile.DIRTYPE if content is None else tarfile.REGTYPE
    member.size = len(content or b"")
    archive.addfile(member, io.BytesIO(content or b""))


def _command(place: EnginePlace) -> list[str]:
    return [
        *(find_tool("unshare"), "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"),
        *("sh", "-c", _IN_NAMESPACE, "engine", find_tool("dockerd")),
        f"--host={place.host}",
        f"--data-root={place.folder / 'data'}",
        f"--exec-root={place.run / 'exec'}",
        f"--pidfile={place.run / 'docker.pid'}",
        f"--config-file={place.folder / 'daemon.json'}",
        f"--bridge={place.bridge}",
        f"--cgroup-parent=/{place.run.name}",
        "--exec-opt=native.cgroupdriver=cgroupfs",
        "--iptables=false",
        "--ip-forward=false",
        "--ip-masq=false",
        "--userland-proxy=true",
    ]


def _environment(place: EnginePlace) -> dict[str, str]:
    """The daemon accepts `--gpus` when it finds NVIDIA's hook on its PATH as it starts."""
    return {"PATH": f"{place.folder / 'bin'}:{_TOOL_PATH}", "HOME": str(place.folder), "LC_ALL": "C"}


def _install_hook(place: EnginePlace, cards: Mapping[str, Card]) -> None:
    table = place.folder / "cards.json"
    shown = {uuid: {"name": card.name, "vram_mib": card.vram_mib} for uuid, card in cards.items()}
    write_whole(table, json.dumps(shown, indent=1))
    write_whole(place.folder / "daemon.json", "{}\n")
    program = Path(nvidia_hook.__file__).resolve()
    command = shlex.join([sys.executable, "-I", "-S", str(program), str(table.resolve())])
    hook = place.folder / "bin" / "nvidia-container-runtime-hook"
    write_whole(hook, f'#!/bin/sh\nexec {command} "$@"\n', 0o755)


@contextlib.contextmanager
def _alone(place: EnginePlace) -> Iterator[None]:
    with (place.folder / "engine.lock").open("a") as lock:
        _take(lock, place)
        yield


def _take(lock: IO[str], place: EnginePlace) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingError("folder", str(place.folder), "a folder in which no other engine lives") from None


def _sweep(place: EnginePlace) -> None:
    """Remove what a daemon leaves outside its namespaces: bridge, sockets, empty control groups."""
    if place.bridge in _addresses():
        _ip("link", "delete", place.bridge)
    shutil.rmtree(place.run, ignore_errors=True)
    for root in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
        _remove_groups(root / place.run.name)


def _remove_groups(group: Path) -> None:
    """Control groups are folders whose files can't be removed: from the leaves up, each by itself."""
    if not group.is_dir():
        return
    for inner in sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            inner.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()


def _add_bridge(place: EnginePlace) -> None:
    taken = {int(n) for told in _addresses().values() for n in re.findall(r"\b10\.222\.([0-9]{1,3})\.", told)}
    number = next(
        n % 250 for n in range(place.first_subnet, place.first_subnet + 250) if n % 250 not in taken
    )
    _ip("link", "add", "name", place.bridge, "type", "bridge")
    _ip("address", "add", f"10.222.{number}.1/24", "dev", place.bridge)
    _ip("link", "set", place.bridge, "up")


def _addresses() -> dict[str, str]:
    """Each network interface, and its addresses as `ip` lists them."""
    found: dict[str, str] = {}
    for line in (
        _ip("-oneline", "address", "show").splitlines() + _ip("-oneline", "link", "show").splitlines()
    ):
        _, name, told = line.split(None, 2)
        name = name.rstrip(":").partition("@")[0]
        found[name] = f"{found.get(name, '')} {told}"
    return found


def _ip(*words: str) -> str:
    done = subprocess.run(  # noqa: S603  our own words
        [find_tool("ip"), *words], capture_output=True, check=False, timeout=COMMAND_DEADLINE_S
    )
    if done.returncode:
        raise EngineMissing(f"ip {' '.join(words)}: {done.stderr.decode(errors='replace').strip()[:200]}")
    return done.stdout.decode(errors="replace")
