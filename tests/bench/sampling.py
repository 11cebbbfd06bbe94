"""What measuring a lease costs its machine: CPU time of OpenSSH's server and of all that it starts, for a session and for a sample."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from deployments.localnet.engine import why_missing
from deployments.marketplace.sampling import Sampling
from storage.records import Executor
from tasks.edges.runtime import find_engine
from tasks.edges.shell import EpochKey
from tasks.inspection.facts.gpu_use import GPU_USE
from tasks.inspection.talk import start_runner
from tasks.renting.meter import Meter
from tests.bench.rows import MS, Group, Row
from tests.engines import docker_rig, soon
from tests.tasks.edges.openssh import let_in, openssh
from tests.tasks.edges.rented import rented, spec

RUNS, SAMPLES = 5, 20
NAMES = ("sample_cpu", "sample_share")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PASSED_ON = ("PATH", "DOCKER_HOST", "SUBNET_FAKE_GPUS")


def _sampling() -> Iterator[Row]:
    if reason := why_missing():
        raise RuntimeError(reason)
    with tempfile.TemporaryDirectory() as name:
        folder, made_of = Path(name), spec(words=("sh", "-c", "while :; do sleep 0.01; done"))
        (folder / "ssh").mkdir()
        with (
            docker_rig(folder / "engine") as rig,
            rig.runtime(folder / "machine") as runtime,
            rented(rig, runtime, made_of) as box,
        ):
            environment = dict(rig.machine(folder / "machine").environment)
            key = EpochKey.generate()
            passed_on = " ".join(f"{name}={environment[name]}" for name in _PASSED_ON)
            with openssh(folder / "ssh", key.public_line, SetEnv=passed_on) as machine:
                server = int((folder / "ssh" / "pid").read_text())
                taken = [
                    (*_session_s(server, machine, key, box.name, made_of.card_uuids), _least_s(environment))
                    for _ in range(RUNS + 1)
                ][1:]
    opening_s, sample_s, least_s = (statistics.median(column) for column in zip(*taken, strict=True))
    limits, cores = Sampling(), os.cpu_count() or 1
    note = (
        f"OpenSSH's server and all that it starts, {SAMPLES} samples a run, simulated cards; floor: a shell that asks the "
        f"cards' tool and reads one file; to open its session, once in {limits.session_s:g} s: {opening_s * MS:.0f} ms"
    )
    yield Row("sample_cpu", sample_s * MS, "ms", least_s * MS, RUNS, note)
    share = 100 * (sample_s / limits.every_s + opening_s / limits.session_s) / cores
    note = f"of a machine of {cores} cores: a sample each {limits.every_s:g} s, and its sessions"
    yield Row("sample_share", share, "%", None, RUNS, note)


def _session_s(
    server: int, machine: Executor, key: EpochKey, container: str, card_uuids: tuple[str, ...]
) -> tuple[float, float]:
    """For a session, up to its first sample; and for one sample more."""
    before_s = _tree_s(server)
    with let_in(machine, key) as session:
        start_runner(session, deadline=soon())
        meter = Meter(find_engine(session, deadline=soon(), names=("docker",)), container)
        meter.read(card_uuids, deadline=soon())
        opened_s = _tree_s(server)
        for _ in range(SAMPLES):
            found = meter.read(card_uuids, deadline=soon())
            assert found.cards
            assert found.counters.cpu_s is not None
        sampled_s = _tree_s(server)
    return opened_s - before_s, (sampled_s - opened_s) / SAMPLES


def _least_s(environment: dict[str, str]) -> float:
    """For one sample of the cards and one file of counters, by the programs alone."""
    line = f"cat /proc/uptime; exec {GPU_USE.command.command}"

    def work() -> None:
        subprocess.run(["/bin/sh", "-c", line], env=environment, check=True, capture_output=True)

    return _children_s(work) / SAMPLES


def _children_s(work: Callable[[], None]) -> float:
    """Of what we start ourselves, so often."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(SAMPLES):
        work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _tree_s(root: int) -> float:
    """CPU seconds of a process and of all below it so far, those that have ended in."""
    parents, used_s = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        used_s[pid] = sum(int(field) for field in fields[11:15]) / _TICKS_PER_S

    def is_below(pid: int) -> bool:
        while pid and pid != root:
            pid = parents.get(pid, 0)
        return pid == root

    return sum(each_s for pid, each_s in used_s.items() if is_below(pid))


GROUPS = (Group(NAMES, _sampling),)
