"""The rig of the epoch's rows: a Prefect server of its own, farms, and a validator's process for each farm.

Everything lies in a folder that is emptied first, so that no run finds the rows of another in its databases.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deployments.prefect_server import PrefectServer, client_environment, launch
from deployments.processes import Child, start
from tests.bench.paths import REPOSITORY
from tests.bench.told import Told

FARM_DEADLINE_S = 120.0
STEP_S, QUIET_S, SETTLE_S = 1.0, 6.0, 15.0
"""The server has written down what it was told when it was quiet for longer than its recorder waits: five seconds."""
QUIET_CORES = 0.08
IDLE_S, START_S = 10.0, 60.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Validator:
    """A validator's process on a farm of its own."""

    def __init__(self, process: subprocess.Popen[str], executors: int) -> None:
        self._process, self.executors = process, executors

    def ask(self, word: str) -> Told:
        """Have it do what `tests/bench/validator.py` knows by this word."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the validator ended in {word!r} with status {self._process.wait()}")
        return Told(**json.loads(line))


@dataclass(frozen=True)
class Kind:
    """What the farms are like, and by which policy they are validated."""

    policy: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


FARM = Kind("farm")


@dataclass(frozen=True)
class Rig:
    """What the rows are measured on."""

    server: PrefectServer
    validators: dict[int, Validator]
    """By the number of executors."""
    idle_cores: float
    """What the server takes while nothing happens."""

    @contextmanager
    def server_cpu(self) -> Iterator[list[float]]:
        """Gets the server's CPU seconds for what the block has it do, its idling taken off."""
        used_s: list[float] = []
        began, before_s = time.monotonic(), self._server_s()
        yield used_s
        assert self.server.child is not None
        _await_quiet(self.server.child.process.pid, SETTLE_S)
        idle_s = self.idle_cores * (time.monotonic() - began)
        used_s.append(max(0.0, self._server_s() - before_s - idle_s))

    def _server_s(self) -> float:
        assert self.server.child is not None
        return group_cpu_s(self.server.child.process.pid)


@contextmanager
def rig(folder: Path, sizes: Sequence[int], kind: Kind = FARM) -> Iterator[Rig]:
    """A rig with a farm of each size; all that it started ends with the block."""
    shutil.rmtree(folder, ignore_errors=True)
    with ExitStack() as stack:
        server = launch(folder, REPOSITORY)
        stack.callback(server.stop)
        environment = _environment(folder, server) | kind.environment
        validators = {
            size: Validator(
                stack.enter_context(_validator(folder / str(size), size, environment, kind)), size
            )
            for size in sizes
        }
        server.wait()
        yield Rig(server, validators, _idle_cores(server))


def group_cpu_s(group: int) -> float:
    """CPU seconds of a process group so far, ended children of its members in."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[2]) == group:
            total += sum(int(field) for field in fields[11:15])
    return total / _TICKS_PER_S


@contextmanager
def _validator(
    folder: Path, executors: int, environment: dict[str, str], kind: Kind
) -> Iterator[subprocess.Popen[str]]:
    farm = _start_farm(folder, executors, environment, kind)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.validator", str(folder), kind.policy],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=environment,
    )
    try:
        farm.wait_until(lambda: "ready" in farm.log.read_text(errors="replace"), FARM_DEADLINE_S)
        yield process
    finally:
        process.kill()
        process.communicate()
        farm.stop()


def _start_farm(folder: Path, executors: int, environment: dict[str, str], kind: Kind) -> Child:
    return start(
        f"farm of {executors}",
        [
            sys.executable,
            "-m",
            "deployments.localnet.farm",
            "--folder",
            str(folder / "localnet"),
            "--executors",
            str(executors),
            *kind.arguments,
        ],
        log=folder / "farm.log",
        environment=environment,
        folder=REPOSITORY,
    )


def _environment(folder: Path, server: PrefectServer) -> dict[str, str]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "SUBNET_"))}
    return ours | client_environment(folder, server) | {"PYTHONUNBUFFERED": "1"}


def _idle_cores(server: PrefectServer) -> float:
    assert server.child is not None
    pid = server.child.process.pid
    _await_quiet(pid, START_S)
    before_s = group_cpu_s(pid)
    time.sleep(IDLE_S)
    return (group_cpu_s(pid) - before_s) / IDLE_S


def _await_quiet(group: int, longest_s: float) -> None:
    """Until the group has done next to nothing for longer than the server's recorder waits."""
    end, quiet_s = time.monotonic() + longest_s, 0.0
    while time.monotonic() < end and quiet_s < QUIET_S:
        before_s = group_cpu_s(group)
        time.sleep(STEP_S)
        is_quiet = group_cpu_s(group) - before_s < QUIET_CORES * STEP_S
        quiet_s = quiet_s + STEP_S if is_quiet else 0.0
