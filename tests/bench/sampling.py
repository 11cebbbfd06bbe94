"""What measuring a lease costs its machine: CPU time of the program over there and of all that it starts, for one sample."""

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
from tasks.inspection.facts.gpu_use import GPU_USE
from tasks.renting.meter import Meter
from tests.bench.rows import MS, Group, Row
from tests.deployments.localnet.visiting import told_by
from tests.engines import docker_rig, soon
from tests.tasks.edges.rented import rented, spec

RUNS, SAMPLES = 5, 20
NAMES = ("sample_cpu", "sample_share")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _sampling() -> Iterator[Row]:
    if reason := why_missing():
        raise RuntimeError(reason)
    with tempfile.TemporaryDirectory() as name:
        folder, made_of = Path(name), spec(words=("sh", "-c", "while :; do sleep 0.01; done"))
        with (
            docker_rig(folder / "engine") as rig,
            rig.runtime(folder / "machine") as runtime,
            rented(rig, runtime, made_of) as box,
        ):
            meter, runner = Meter(runtime, box.name), int(told_by(runtime.session, "echo $PPID"))
            environment = dict(rig.machine(folder / "machine").environment)

            def ours() -> None:
                found = meter.read(made_of.card_uuids, deadline=soon())
                assert found.cards
                assert found.counters.cpu_s is not None

            def floor() -> None:
                """The cards and one file of counters, by the programs alone."""
                line = f"cat /proc/uptime; exec {GPU_USE.command.command}"
                subprocess.run(["/bin/sh", "-c", line], env=environment, check=True, capture_output=True)

            used = [(_used_s(runner, ours), _children_s(floor)) for _ in range(RUNS + 1)][1:]
    each_s, least_s = (statistics.median(column) / SAMPLES for column in zip(*used, strict=True))
    period_s, cores = Sampling().every_s, os.cpu_count() or 1
    note = (
        f"the program over there and all that it starts, its SSH server out, median of {SAMPLES} samples a run, simulated cards; "
        "floor: a shell that asks the cards' tool and reads one file"
    )
    yield Row("sample_cpu", each_s * MS, "ms", least_s * MS, RUNS, note)
    share = 100 * each_s / period_s / cores
    yield Row(
        "sample_share", share, "%", None, RUNS, f"of a machine of {cores} cores, a sample each {period_s:g} s"
    )


def _used_s(pid: int, work: Callable[[], None]) -> float:
    """Of that process, for so many samples."""
    before_s = _cpu_s(pid)
    for _ in range(SAMPLES):
        work()
    return _cpu_s(pid) - before_s


def _children_s(work: Callable[[], None]) -> float:
    """Of what we start ourselves, for as many."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(SAMPLES):
        work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _cpu_s(pid: int) -> float:
    """Of a process and its children that have ended, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS_PER_S


GROUPS = (Group(NAMES, _sampling),)
