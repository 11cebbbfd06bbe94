"""Real container engines for tests: a Docker daemon of our own with simulated cards, and Podman in a network of its own.

Their fixtures stand in tests/conftest.py: `docker` and `podman`, once for each worker. Where an engine can't be had its
tests are skipped by name, with what is missing; TESTS_MAY_NOT_SKIP=1, as CI sets it, makes that a failure. On a machine with
root and apt, `make test` installs what is needed. Tests of one engine belong to one group: `pytest.mark.xdist_group("engine")`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deployments.localnet.cast import CAST, CastExecutor
from deployments.localnet.engine import (
    EngineMissing,
    cards_of,
    find_tool,
    plain_root,
    serve_engine,
    why_missing,
)
from deployments.localnet.executors import Machine
from deployments.localnet.homes import Disks, make_machine
from tasks.edges.runtime import Runtime, find_engine
from tasks.edges.shell import Session, Shell
from tasks.edges.toolbox import Toolbox
from tasks.errors import SettingError
from tasks.inspection.talk import start_runner
from tests.deployments.localnet.visiting import cast, enter, served

PLAIN = "subnet/plain:1"
MACHINE = CAST.executors[0].executor_id
PODMAN = "/usr/bin/podman"


@dataclass(frozen=True)
class EngineRig:
    """An engine that runs, and what a machine's sessions need in their environment to reach it."""

    name: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    netns: str = ""
    """The network in which its published ports are; empty: ours."""

    def run(self, *words: str, check: bool = True) -> str:
        """The engine's own command line: a test's second opinion."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            [self.name, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def inside(self, *words: str) -> list[str]:
        """A command in the network of its ports."""
        return ["nsenter", f"--net=/run/netns/{self.netns}", *words] if self.netns else list(words)

    def machine(self, folder: Path, executor_id: str = MACHINE) -> Machine:
        """A local machine on which this engine is found."""
        (folder / "cache").mkdir(parents=True, exist_ok=True)
        made = make_machine(Disks(folder), cast(executor_id), 0)
        path = f"{self.folder}/bin:{made.home}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        return replace(made, environment={**made.environment, "PATH": path, **self.environment})

    @contextlib.contextmanager
    def session(
        self, folder: Path, executor_id: str = MACHINE, shell: Shell | None = None
    ) -> Iterator[Session]:
        """A real session to such a machine, our program running."""
        with served({executor_id: self.machine(folder, executor_id)}) as machines:
            session = enter(folder, machines[executor_id], shell=shell)
            try:
                start_runner(session, deadline=soon())
                yield session
            finally:
                session.close()

    @contextlib.contextmanager
    def runtime(
        self, folder: Path, executor_id: str = MACHINE, shell: Shell | None = None
    ) -> Iterator[Runtime]:
        """The engine as the flows drive it."""
        with self.session(folder, executor_id, shell) as session:
            yield find_engine(session, deadline=soon(), names=(self.name,))


def soon(seconds: float = 60.0) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def executor(executor_id: str = MACHINE) -> CastExecutor:
    """The machine's cards and address."""
    return cast(executor_id)


def skip_or_fail(reason: str) -> None:
    """A test by this name is skipped for this reason, but never in CI."""
    if os.environ.get("TESTS_MAY_NOT_SKIP"):
        pytest.fail(f"may not be skipped here: {reason}")
    pytest.skip(reason)


@contextlib.contextmanager
def docker_rig(folder: Path) -> Iterator[EngineRig]:
    """A Docker daemon in this folder, the plain image in it."""
    _require_toolbox()
    if reason := why_missing():
        skip_or_fail(reason)
    try:
        with serve_engine(folder, cards_of(CAST), folder / "engine.log") as engine:
            engine.wait()
            yield EngineRig("docker", folder, {"DOCKER_HOST": engine.place.host})
    except EngineMissing as missing:
        skip_or_fail(str(missing))


@contextlib.contextmanager
def podman_rig(folder: Path) -> Iterator[EngineRig]:
    """Podman with stores, runtime and network of its own; its ports are in that network."""
    _require_toolbox()
    needed = {"podman": PODMAN, "runc": None, "nsenter": None, "ip": None}
    missing = [
        n
        for n, path in needed.items()
        if shutil.which(path or n, path="/usr/sbin:/usr/bin:/sbin:/bin") is None
    ]
    if os.geteuid() != 0 or missing:
        skip_or_fail(
            f"Podman's tests need root and {', '.join(missing) or 'nothing else'}: apt install podman runc"
        )
    netns = f"subnet-test-{os.getpid()}"
    rig = EngineRig("podman", folder, _podman_environment(folder, netns), netns)
    with _network(netns), _cdi_cards(folder):
        try:
            rig_import(rig)
            yield rig
        finally:
            rig.run("rm", "--all", "--force", "--time=0", check=False)


def rig_import(rig: EngineRig) -> None:
    """Bring the plain image into Podman's store."""
    tar = rig.folder / "plain.tar"
    tar.write_bytes(plain_root())
    rig.run("import", "--change=CMD sleep infinity", str(tar), PLAIN)


def _require_toolbox() -> None:
    try:
        Toolbox.build()
    except SettingError as error:
        skip_or_fail(str(error))


def _podman_environment(folder: Path, netns: str) -> dict[str, str]:
    """A `podman` first on PATH that works in its own network; but pulls through ours, where the test's registry is."""
    (folder / "bin").mkdir(parents=True)
    podman = folder / "bin" / "podman"
    podman.write_text(
        f'#!/bin/sh\n[ "$1" = pull ] && exec {PODMAN} "$@"\nexec nsenter --net=/run/netns/{netns} {PODMAN} "$@"\n'
    )
    podman.chmod(0o755)
    files = {
        # A machine in a container may not raise its limits: Podman would start nothing with the usual ones.
        "CONTAINERS_CONF": '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'tmp_dir = "{folder}/tmp"\n[network]\nnetwork_config_dir = "{folder}/net"\n',
        "CONTAINERS_STORAGE_CONF": '[storage]\ndriver = "overlay"\n'
        f'graphroot = "{folder}/root"\nrunroot = "{folder}/run"\n',
        "CONTAINERS_REGISTRIES_CONF": 'unqualified-search-registries = []\n[[registry]]\nlocation = "127.0.0.1"\n'
        'prefix = "127.0.0.1"\ninsecure = true\n',
    }
    for name, text in files.items():
        (folder / f"{name.lower()}").write_text(text)
    paths = {name: str(folder / name.lower()) for name in files}
    return {**paths, "PATH": f"{folder}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}


@contextlib.contextmanager
def _network(netns: str) -> Iterator[None]:
    ip = find_tool("ip")
    subprocess.run([ip, "netns", "add", netns], check=True)
    try:
        subprocess.run([ip, "-n", netns, "link", "set", "lo", "up"], check=True)
        yield
    finally:
        subprocess.run([ip, "netns", "delete", netns], check=False)


@contextlib.contextmanager
def _cdi_cards(folder: Path) -> Iterator[None]:
    """The cards of one machine as CDI devices: each brings a tool that shows it."""
    from deployments.localnet.nvidia_hook import script

    devices = []
    for uuid in executor().card_uuids:
        tool = folder / f"{uuid}.sh"
        tool.write_text(script({uuid: {"name": executor().model, "vram_mib": 1}}))
        tool.chmod(0o755)
        mount = {"hostPath": str(tool), "containerPath": "/usr/bin/nvidia-smi", "options": ["bind", "ro"]}
        devices.append({"name": uuid, "containerEdits": {"mounts": [mount]}})
    with _one_cdi_writer() as place:
        # A run that was killed has left its cards: the same card in two files is none at all.
        for left in place.glob("subnet-test*.json"):
            left.unlink()
        spec = place / "subnet-test.json"
        spec.write_text(json.dumps({"cdiVersion": "0.3.0", "kind": "nvidia.com/gpu", "devices": devices}))
        try:
            yield
        finally:
            spec.unlink()


@contextlib.contextmanager
def _one_cdi_writer() -> Iterator[Path]:
    """The machine's one folder of CDI devices, ours alone until the end: another run of tests waits here."""
    place = Path("/var/run/cdi")
    place.mkdir(parents=True, exist_ok=True)
    with (place / "subnet-test.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield place
