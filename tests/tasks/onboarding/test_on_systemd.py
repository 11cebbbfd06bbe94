"""The hand on a machine that a systemd of its own runs: the keeper is a service there, and is none when it is undone."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.edges.shell import EpochKey, Shell
from tasks.inspection.talk import run_program, start_runner
from tests.deployments.miner.bare import HIERARCHIES
from tests.deployments.miner.bare_machine import PROVER, BareMachine, bare_machine
from tests.tasks.onboarding.test_hand import WANTED, announced, brought_in, certified, soon, states, taken_out
from tests.tasks.onboarding.test_odd_machines import found

ENABLED = "/etc/systemd/system/multi-user.target.wants/subnet-keeper.service"

pytestmark = [
    pytest.mark.xdist_group("bare"),
    pytest.mark.long,
    pytest.mark.skipif(
        not Path("/lib/systemd/systemd").exists()
        or not all(Path("/sys/fs/cgroup", name, "cgroup.procs").exists() for name in HIERARCHIES),
        reason="a systemd of its own needs systemd and its control groups",
    ),
]


def told(machine: BareMachine, *words: str) -> str:
    """What a program prints that root runs over SSH."""
    executor = machine.named.executor(machine.host_key)
    with Shell().open(executor, machine.key, deadline=soon()) as session:
        start_runner(session, deadline=soon())
        done = run_program(session, words, timeout_s=10, limit_bytes=4_000, deadline=soon())
    return done.stdout.decode().strip()


def test_on_systemd(tmp_path):
    """The keeper comes up with the machine and again when it dies; its sessions reach no address; undone, nothing is left."""

    wanted = replace(WANTED, python=PROVER, has_engine=False)
    with bare_machine(tmp_path / "m", has_systemd=True) as machine:
        report = found(machine)
        brought_in(machine, wanted, report)
        assert told(machine, "systemctl", "is-active", "subnet-keeper.service") == "active"
        assert ENABLED in machine.changed()
        whole = machine.changed()
        assert "to do" not in states(machine.hand.plan(machine.named, wanted, report)).values()
        brought_in(machine, wanted, report)
        assert machine.changed() == whole

        told(machine, "pkill", "-KILL", "-f", "keeper serve")
        time.sleep(1.5)
        connecting = (
            f"import socket; socket.create_connection(('{machine.named.address}', 22), 1); print('reached')"
        )
        assert told(machine, PROVER, "-I", "-c", connecting) == "reached"
        executor = announced(machine, PROVER)
        with Shell().open(executor, certified(EpochKey.generate()), deadline=soon()) as session:
            start_runner(session, deadline=soon())
            words = (PROVER, "-I", "-c", connecting)
            done = run_program(session, words, timeout_s=10, limit_bytes=100, deadline=soon())
        assert (done.stdout, b"timed out" in done.stderr) == (b"", True)
        assert "subnet-keeper" not in told(machine, "systemctl", "--failed", "--plain", "--no-legend")

        taken_out(machine)
        assert told(machine, "systemctl", "is-active", "subnet-keeper.service") == "inactive"
        assert machine.changed() == {}
