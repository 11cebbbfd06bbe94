"""Bare machines for tests: a root, an address and a real OpenSSH of their own, one key of root's, and nothing of ours.

    with bare_machine(folder) as machine:
        machine.named                   as its miner names it, its host key pinned in `machine.pins`
        machine.run("id", "subnet")     a program there, without SSH
        machine.changed()               path -> what is not as it was; the machine itself is thrown away

It has this computer's Python and packages as `/usr/local/base` and `/usr/local/packages`, an index of Python packages and one
of the system's (Docker and NVIDIA's toolkit, played by scripts), simulated cards, and an `nvidia-smi` that shows them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployments.localnet import nvidia_smi
from deployments.localnet.cast import CAST, CastExecutor
from deployments.localnet.homes import _shown_cards, proved_bytes
from tasks.edges.shell import EpochKey, Shell
from tasks.onboarding.confinement import files
from tasks.onboarding.confinement.keeper import uid_of
from tasks.onboarding.hand import Hand
from tasks.onboarding.login import Pins, load_ssh_key
from tasks.onboarding.machine import Machine
from tests.deployments.miner import bare

PROVED = next(e for e in CAST.executors if e.executor_id == "aurora-1")
REPOSITORY = Path(__file__).parents[3]
CARDS, SHOWN = "/var/lib/cards", "/var/lib/gpus.json"
PACKAGES = "/usr/local/packages"
PYTHON = f"/usr/local/base/bin/python{sys.version_info.major}.{sys.version_info.minor}"
"""The machine's own interpreter: that of the tests, without their packages."""
PROVER = "/usr/local/announced/bin/python"
"""Another one of the owner's, which has what the prover imports."""
ENVIRONMENT = (("SUBNET_SIMULATED_CARDS", CARDS), ("SUBNET_FAKE_GPUS", SHOWN))
"""What a prover of simulated cards is told: `Wanted.environment`."""
NOT_OURS = (
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/var/log",
    "/run/motd.dynamic",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
)
"""What the machine's own tools keep of their work, as they do whoever uses them: copies of the lists of users, logs,
what is greeted with at a login, the package manager's notes."""
SSHD_CONFIG = """\
Include /etc/ssh/sshd_config.d/*.conf
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
KbdInteractiveAuthentication no
UsePAM yes
X11Forwarding yes
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
"""
DOCKER = """\
#!/bin/sh
[ "$(id -u)" = 0 ] || id -nG | grep -qw docker || exit 1
echo '{"version": "28.2.2", "runtimes": {"runc": {}}}'
"""
"""An engine's client that answers whoever may use the engine."""
APT = {
    "docker.io": {
        "/usr/bin/docker": DOCKER,
        "/etc/default/docker": "# nothing\n",
        "/DEBIAN/conffiles": "/etc/default/docker\n",
        "/DEBIAN/postinst": "#!/bin/sh\nset -e\ngetent group docker >/dev/null || groupadd -r docker\n",
    },
    "nvidia-container-toolkit": {
        "/usr/bin/nvidia-ctk": '#!/bin/sh\nif [ "$1" = --version ]; then echo "NVIDIA Container Toolkit CLI version 1.17.8"; exit; fi\n'
        'echo \'{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}\' > /etc/docker/daemon.json\n',
    },
}
_TARGET = "[Unit]\nDefaultDependencies=no\n"
UNITS = {
    **{
        f"/etc/systemd/system/{name}.target": _TARGET
        for name in ("sysinit", "basic", "shutdown", "multi-user", "local-fs", "network")
    },
    "/etc/systemd/system/bare.target": f"{_TARGET}Requires=ssh.service multi-user.target\n",
    "/etc/systemd/system/ssh.service": f"{_TARGET}[Service]\nType=notify\nRuntimeDirectory=sshd\nKillMode=process\n"
    "ExecStart=/usr/sbin/sshd -D\n",
}
"""All that its systemd starts is an SSH server."""
SYSTEMD_HIDDEN = (
    "/etc/systemd/system",
    *(
        f"/usr/lib/systemd/system/{name}.target.wants"
        for name in ("multi-user", "sysinit", "sockets", "local-fs")
    ),
)
SUDO = """\
#!/usr/local/lib/as-root -I
import os, sys
os.setresgid(0, 0, 0), os.setgroups([0]), os.setresuid(0, 0, 0)
words = sys.argv[1:]
while words and words[0].startswith("-"):
    if words.pop(0) == "--":
        break
os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
os.execvp(words[0], words)
"""


def why_not() -> str:
    """What is missing for such a machine here; empty: nothing."""
    tools = ("sshd", "unshare", "nsenter", "ip", "chroot", "useradd")
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    missing = [name for name in tools if shutil.which(name, path=path) is None]
    if os.geteuid() != 0 or missing:
        return f"root, {', '.join(missing) or 'and no more'}"
    if subprocess.run(["unshare", "--mount", "--net", "true"], check=False).returncode != 0:
        return "namespaces of its own"
    return ""


@dataclass(frozen=True)
class BareMachine:
    """A machine that runs."""

    named: Machine
    host_key: bytes
    key: EpochKey
    """Of root, and of whoever else may log in."""
    pins: Pins
    folder: Path
    netns: str
    kernels: Path | None
    _process: subprocess.Popen[str]

    @property
    def hand(self) -> Hand:
        """The miner's, with that key."""
        return Hand(Shell(), self.pins, self.key)

    def run(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """A program on the machine, as root and without SSH; what it printed."""
        status, printed = self._asked({"run": words, "stdin": stdin})
        assert status == 0 or not check, f"{words}: {printed}"
        return printed

    def warm(self, hotkey: str) -> None:
        """This validator has been here before: its kernels are compiled."""
        own, home = uid_of(f"subnet:{hotkey}:1"), f"{files.STATE}/homes/{uid_of(f'subnet:{hotkey}:1')}"
        place = self.kernels.resolve()
        self.run("mkdir", "-p", f"{home}/.cache")
        self.run("ln", "-sfn", str(place), f"{home}/.cache/subnet")
        self.run("chown", "-hR", f"{own}:{own}", home)
        self.run("chmod", "-R", "a+rwX", str(place))
        self.run("chmod", "700", home)

    def changed(self) -> dict[str, str]:
        """By path, what differs from the machine as it was; what its own tools keep of their work is left out."""
        found = self._asked({"changed": True})
        return {
            p: what
            for p, what in found.items()
            if not any(p == no or p.startswith(f"{no}/") for no in NOT_OURS)
        }

    def _asked(self, request: Mapping[str, object]) -> object:
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def bare_machine(
    folder: Path,
    executor: CastExecutor = PROVED,
    *,
    user: str = "root",
    has_sudo: bool = True,
    sshd_config: str = SSHD_CONFIG,
    things: Mapping[str, str] | None = None,
    gone: tuple[str, ...] = (),
    kernels: Path | None = None,
    is_read_only: bool = False,
    has_systemd: bool = False,
) -> Iterator[BareMachine]:
    """A machine with these cards, until the end; skipped by name where there can be none.

    `kernels` is a folder of compiled ones (`warm_cache`), of which the machine has a copy: `warm` gives it to a validator.
    """
    if missing := why_not():
        pytest.skip(f"a bare machine needs {missing}")
    folder.mkdir(parents=True, exist_ok=True)
    host, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    (folder / "key").write_text(pem(key))
    (folder / "key").chmod(0o600)
    told = {
        "folder": str(folder),
        "things": [
            *_things(host, key, user, sshd_config, executor),
            *([("/usr/bin/sudo", SUDO, 0o755)] if has_sudo else []),
            *((p, t, 0o644) for p, t in (UNITS if has_systemd else {}).items()),
            *((p, t, 0o755 if t.startswith("#!") else 0o644) for p, t in (things or {}).items()),
        ],
        "links": {PROVER: PYTHON},
        "user": "" if user == "root" else user,
        "hidden": [str(REPOSITORY), *(SYSTEMD_HIDDEN if has_systemd else ())],
        "cgroup": f"subnet-bare-{os.getpid()}" if has_systemd else "",
        "gone": gone,
        "copies": [str(kernels.resolve())] if kernels else [],
        "mounts": {
            "/usr/local/base": sys.base_prefix,
            PACKAGES: sysconfig.get_path("purelib"),
            "/usr/local/wheels": str(_wheels(folder)),
        },
        "cards": {f"{CARDS}/{u}/total": str(proved_bytes(executor.model)) for u in executor.card_uuids},
        "packages": APT,
        "is_read_only": is_read_only,
    }
    with _network() as (netns, address):
        command = [
            "nsenter",
            f"--net=/run/netns/{netns}",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
        ]
        command += ["--mount-proc", "--propagation", "private", sys.executable, bare.__file__]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                print(json.dumps(told), file=process.stdin, flush=True)
                assert process.stdout.readline() == "ready\n", "the machine did not come up"
                named = Machine(address, 22, user, PYTHON, address)
                pins, blob = Pins(folder / "known_hosts"), base64.b64decode(line(host).split()[1])
                pins.pin(named, blob)
                _wait_for(address)
                yield BareMachine(
                    named, blob, load_ssh_key(folder / "key"), pins, folder, netns, kernels, process
                )
            finally:
                process.stdin.close()
                process.kill()
                process.wait()
                _remove_cgroups(told["cgroup"])


def pem(key: Ed25519PrivateKey) -> str:
    """As OpenSSH keeps it."""
    kind = serialization.PrivateFormat.OpenSSH
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


def line(key: Ed25519PrivateKey) -> str:
    """Its public half."""
    kind = serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, kind).decode()


def _things(
    host: Ed25519PrivateKey,
    key: Ed25519PrivateKey,
    user: str,
    sshd_config: str,
    executor: CastExecutor,
) -> list[tuple[str, str, int]]:
    smi = "/usr/local/lib/nvidia_smi.py"
    home = "/root" if user == "root" else f"/home/{user}"
    return [
        ("/etc/ssh/sshd_config", sshd_config, 0o644),
        ("/etc/ssh/ssh_host_ed25519_key", pem(host), 0o600),
        ("/etc/ssh/ssh_host_ed25519_key.pub", line(host) + "\n", 0o644),
        (f"{home}/.ssh/authorized_keys", line(key) + "\n", 0o644),
        ("/usr/local/announced/pyvenv.cfg", f"home = {Path(PYTHON).parent}\n", 0o644),
        (f"/usr/local/announced/lib/{Path(PYTHON).name}/site-packages/packages.pth", f"{PACKAGES}\n", 0o644),
        ("/etc/pip.conf", "[global]\nno-index = true\nfind-links = /usr/local/wheels\n", 0o644),
        (smi, Path(nvidia_smi.__file__).read_text(), 0o644),
        (
            "/usr/local/bin/nvidia-smi",
            f'#!/bin/sh\nSUBNET_FAKE_GPUS={SHOWN} exec {PYTHON} -I -S {smi} "$@"\n',
            0o755,
        ),
        (SHOWN, _shown_cards(executor), 0o644),
    ]


def _wheels(folder: Path) -> Path:
    """Packages that lead to those of the tests: what `pip install` makes of them proves, and nothing is copied."""
    made = folder / "wheels"
    made.mkdir()
    for name, version in (("numpy", "2.2.0"), ("numba", "0.68.0"), ("numba_cuda", "0.30.0")):
        with zipfile.ZipFile(made / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            info = f"{name}-{version}.dist-info"
            wheel.writestr(f"tests-{name}.pth", f"{PACKAGES}\n")
            wheel.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: cu13\n",
            )
            wheel.writestr(
                f"{info}/WHEEL",
                "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            wheel.writestr(f"{info}/RECORD", "")
    return made


@contextlib.contextmanager
def _network() -> Iterator[tuple[str, str]]:
    """A network with one address of its own, which this computer reaches: its name and that address."""
    _sweep()
    number, near = _link()
    prefix = f"198.{18 + number // 16_384}.{number // 64 % 256}"
    ours, theirs = (f"{prefix}.{number % 64 * 4 + last}" for last in (1, 2))
    name, far = f"subnet-bare-{os.getpid()}-{number}", f"{near}b"
    try:
        _ip("netns", "add", name)
        _ip("link", "set", far, "netns", name)
        _ip("address", "add", f"{ours}/30", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-n", name, "address", "add", f"{theirs}/30", "dev", far)
        for device in ("lo", far):
            _ip("-n", name, "link", "set", device, "up")
        _ip("-n", name, "route", "add", "default", "via", ours)
        yield name, theirs
    finally:
        subprocess.run(["ip", "link", "delete", near], check=False)
        subprocess.run(["ip", "netns", "delete", name], check=False)


def _link() -> tuple[int, str]:
    """A pair of devices that nobody else has, and with their number an address."""
    while True:
        number = secrets.randbelow(32_768)
        name = f"sbn{number}"
        made = ["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}b"]
        done = subprocess.run(made, check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return number, name
        assert "exists" in done.stderr, done.stderr


def _sweep() -> None:
    """Networks of runs that were killed."""
    for path in Path("/run/netns").glob("subnet-bare-*-*"):
        if not Path("/proc", path.name.split("-")[2]).exists():
            subprocess.run(["ip", "netns", "delete", path.name], check=False)


def _remove_cgroups(name: str) -> None:
    """Those of a systemd that has ended."""
    for hierarchy in bare.HIERARCHIES if name else ():
        groups = Path("/sys/fs/cgroup", hierarchy, name)
        for group in sorted([groups, *(p for p in groups.rglob("*") if p.is_dir())], reverse=True):
            for _ in range(100):
                with contextlib.suppress(OSError):
                    group.rmdir()
                if not group.exists():
                    break
                time.sleep(0.02)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _wait_for(address: str) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((address, 22), 1).close()
        except OSError:
            assert time.monotonic() < end, "its SSH server does not answer"
            time.sleep(0.05)
        else:
            return
