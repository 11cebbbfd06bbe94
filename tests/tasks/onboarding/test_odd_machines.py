"""What the hand says of machines that are not as it needs them, with the command that mends it, tried where one does."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.records import HostFacts
from tasks.edges.shell import Shell
from tasks.errors import OnboardingFailed, SettingError
from tasks.onboarding.confinement import files
from tasks.onboarding.hand import Hand
from tasks.onboarding.login import Pins
from tasks.onboarding.needs import Environment, Found
from tasks.onboarding.preflight import Report
from tasks.onboarding.steps import STEPS, PlannedStep, PlanState, StepState, Wanted
from tests.deployments.miner.bare_machine import PROVER, BareMachine, bare_machine, line

WANTED = Wanted("rack1-a", line(Ed25519PrivateKey.generate()), python=PROVER)
MAIN, ALIEN = "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/10-alien.conf"

pytestmark = pytest.mark.xdist_group("bare")


def found(machine: BareMachine, **changes: object) -> Report:
    """A look that found what there is not at odds."""
    seen = Found(HostFacts(), "root", Environment((3, 11, 7), ()), needs_cards=False)
    return Report(machine.named, replace(seen, **changes), ())


def planned(
    machine: BareMachine, step: str, wanted: Wanted = WANTED, report: Report | None = None
) -> PlannedStep:
    plan = machine.hand.plan(machine.named, wanted, report or found(machine))
    return next(one for one in plan.steps if one.step.name == step)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    with bare_machine(tmp_path_factory.mktemp("odd") / "m") as up:
        yield up


@dataclass(frozen=True)
class Odd:
    """A machine that is at odds with a step: what made it so and takes it back, and what has to be told."""

    step: str
    make: str
    take_back: str
    why: str
    mend: str
    is_mended_by_it: bool = False


ODD = (
    Odd(
        "sshd",
        f"sed -i /Include/d {MAIN}",
        f"sed -i 's#^Include.*#Include /etc/ssh/sshd_config.d/*.conf#' {MAIN}",
        "does not include /etc/ssh/sshd_config.d/60-subnet.conf",
        "sed -i '1i Include",
        is_mended_by_it=True,
    ),
    Odd(
        "sshd",
        f"echo 'AllowUsers root' > {ALIEN}",
        f"rm {ALIEN}",
        "AllowUsers names no subnet",
        "s/",
        is_mended_by_it=True,
    ),
    Odd(
        "sshd",
        f"sed -i '1a AllowGroups root' {MAIN}",
        f"sed -i /AllowGroups/d {MAIN}",
        "AllowGroups names no subnet",
        "s/",
        is_mended_by_it=True,
    ),
    Odd("sshd", f"echo 'DenyUsers sub*' > {ALIEN}", f"rm {ALIEN}", "DenyUsers keeps subnet out", "grep"),
    Odd("sshd", f"echo 'Nonsense yes' > {ALIEN}", f"rm {ALIEN}", "Nonsense", "sshd -t"),
    Odd(
        "accounts",
        "useradd -m subnet",
        "userdel -r subnet",
        "a user or group subnet of another kind",
        "userdel",
    ),
    Odd("accounts", "mv /usr/sbin/useradd /tmp/u", "mv /tmp/u /usr/sbin/useradd", "no useradd", "passwd"),
    Odd("folders", "touch /etc/subnet", "rm /etc/subnet", "/etc/subnet is no folder", ""),
    Odd(
        "files",
        "mkdir -p /etc/subnet/keeper.json",
        "rm -r /etc/subnet",
        "/etc/subnet/keeper.json is no file",
        "",
    ),
    Odd("engine", "mv /usr/bin/apt-get /tmp/a", "mv /tmp/a /usr/bin/apt-get", "no apt-get", "dnf"),
    Odd(
        "engine",
        "ln -s /bin/false /usr/bin/podman",
        "rm /usr/bin/podman",
        "podman is there and does not answer",
        "systemctl",
    ),
    Odd(
        "python",
        "mv /usr/local/announced /tmp/a",
        "mv /tmp/a /usr/local/announced",
        "can't import numpy",
        "pip install",
    ),
)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.why)
def test_what_is_in_the_way_is_told_before_anything_is_done(machine, odd):
    """A machine that is at odds with a step has that step blocked, with why and the command; the mend mends, where it can."""

    machine.run("sh", "-c", odd.make)
    try:
        blocked = planned(machine, odd.step)
        if odd.is_mended_by_it:
            machine.run("sh", "-c", blocked.mend)
            assert planned(machine, odd.step).state is PlanState.TO_DO
    finally:
        machine.run("sh", "-c", odd.take_back)

    assert (blocked.state, odd.why in blocked.detail) == (PlanState.BLOCKED, True)
    assert odd.mend in blocked.mend


def test_an_environment_of_the_owners_is_left_alone(machine):
    """Where our place is taken by something else, it is told; and that it is taken for ours as soon as it can prove."""

    wanted = replace(WANTED, python="")
    machine.run("mkdir", "-p", "/opt/subnet/bin")
    blocked = planned(machine, "python", wanted)
    machine.run("ln", "-s", PROVER, "/opt/subnet/bin/python")
    machine.run("cp", "-r", "/usr/local/announced/pyvenv.cfg", "/usr/local/announced/lib", "/opt/subnet")
    done = planned(machine, "python", wanted)
    machine.run("rm", "-r", "/opt/subnet")

    assert (blocked.state, done.state) == (PlanState.BLOCKED, PlanState.DONE)
    assert "a /opt/subnet without numpy" in blocked.detail
    assert "pip install" in blocked.mend


def test_nothing_is_begun_where_a_step_is_blocked(machine):
    """Carrying out a plan with a blocked step fails with the step, why and the mend, and changes nothing."""

    before = machine.changed()
    machine.run("useradd", "-r", "subnet")
    plan = machine.hand.plan(machine.named, WANTED, found(machine))
    with pytest.raises(OnboardingFailed) as caught:
        machine.hand.carry_out(plan, lambda _: None)
    machine.run("userdel", "subnet")

    assert (caught.value.step, caught.value.machine) == ("accounts", machine.named.label)
    assert "userdel" in caught.value.mend
    assert machine.changed() == before


def test_an_ssh_server_that_obeys_others_first_is_put_back_as_it_was(machine):
    """Where another part of its settings wins, our part is taken away again before the server is told of it."""

    machine.run("sh", "-c", f"printf 'Match User subnet*\\n    ForceCommand /bin/true\\n' > {ALIEN}")
    plan = machine.hand.plan(machine.named, replace(WANTED, has_engine=False), found(machine))
    events = []
    with pytest.raises(OnboardingFailed) as caught:
        machine.hand.carry_out(plan, events.append)
    drop_in = machine.run("ls", files.SSHD_DROP_IN, check=False)
    machine.run("rm", ALIEN)
    assert machine.hand.undo(machine.named, lambda _: None) == ()

    assert caught.value.step == "sshd"
    assert "forcecommand is '/bin/true' for subnet" in caught.value.why
    assert "Match" in caught.value.mend
    assert "No such file" in drop_in
    assert (events[-1].step.name, events[-1].state) == ("sshd", StepState.FAILED)


def test_a_login_without_privilege_can_do_nothing(tmp_path):
    """A user without sudo is told how to give it; nothing else is tried."""

    with bare_machine(tmp_path / "m", user="miner", has_sudo=False) as machine:
        plan = machine.hand.plan(machine.named, WANTED, found(machine, privilege="none"))
        with pytest.raises(OnboardingFailed, match="sudo"):
            machine.hand.plan(machine.named, WANTED, found(machine, privilege="sudo"))

    assert [one.state for one in plan.steps] == [PlanState.BLOCKED] * len(STEPS)
    assert "NOPASSWD" in plan.steps[0].mend


def test_a_disk_that_is_read_only_is_told(tmp_path):
    """A machine whose disk can't be written is told so, with the command that mends it."""

    with bare_machine(tmp_path / "m", is_read_only=True) as machine:
        blocked = planned(machine, "folders")
        machine.run("sh", "-c", blocked.mend)
        mended = planned(machine, "folders")

    assert (blocked.state, "read-only" in blocked.detail) == (PlanState.BLOCKED, True)
    assert mended.state is PlanState.TO_DO


KILLING = """\
#!/bin/sh
echo '{"runtimes": {"nvidia": {}}}' > /etc/docker/daemon.json
[ -e /var/lib/cards/killed ] || { touch /var/lib/cards/killed; kill -9 $PPID; }
"""
"""NVIDIA's tool, which takes along who called it, once."""


def test_a_machine_with_cards_and_no_way_to_an_index(tmp_path):
    """Packages are handed over where pip has none; Docker learns of NVIDIA's runtime, and what its owner adds stays when it is undone.

    The hand was killed when NVIDIA's tool had done its part, and Docker had not been told.
    """

    daemon = "/etc/docker/daemon.json"
    things = {
        "/etc/pip.conf": "[global]\nno-index = true\n",
        "/opt/subnet-wheels/hers": "",
        "/usr/local/sbin/nvidia-ctk": KILLING,
    }
    with bare_machine(tmp_path / "m", things=things) as machine:
        report, wanted = found(machine, needs_cards=True), replace(WANTED, python="")
        plan = machine.hand.plan(machine.named, wanted, report)
        with pytest.raises(OnboardingFailed, match="cut off"):
            machine.hand.carry_out(plan, lambda _: None)
        begun = planned(machine, "toolkit", wanted, report)
        with pytest.raises(OnboardingFailed, match="numba") as caught:
            machine.hand.carry_out(plan, lambda _: None)
        with_wheels = machine.hand.plan(
            machine.named, replace(wanted, wheels=tmp_path / "m" / "wheels"), report
        )
        machine.hand.carry_out(with_wheels, lambda _: None)
        runtimes = json.loads(machine.run("cat", daemon))["runtimes"]
        imported = machine.run(with_wheels.python, "-I", "-c", "import numba, numba_cuda; print('yes')")
        again = machine.hand.plan(machine.named, wanted, report)
        machine.run("sh", "-c", f"echo '{{\"debug\": true}}' > {daemon}")
        machine.run("sh", "-c", f"echo '# hers' >> {files.SSHD_DROP_IN}")
        machine.run("sh", "-c", "echo hers > /etc/subnet/miner.toml")
        machine.run("mkdir", "-p", "/var/lib/docker/volumes/hers")
        left = machine.hand.undo(machine.named, lambda _: None)
        kept = machine.run(
            "sh", "-c", "ls /usr/bin/docker /var/lib/subnet-onboarding.json; getent group docker"
        )
        machine.run("rm", "-r", "/var/lib/docker")
        left_then = machine.hand.undo(machine.named, lambda _: None)
        changed = machine.changed()

    assert (begun.state, begun.detail) == (PlanState.TO_DO, daemon)
    assert caught.value.step == "python"
    assert "--wheels" in caught.value.mend
    assert list(runtimes) == ["nvidia"]
    assert imported == "yes\n"
    assert {one.state for one in again.steps} == {PlanState.DONE}
    assert [one.what for one in left] == [
        files.SSHD_DROP_IN,
        "/etc/subnet",
        daemon,
        "/etc/docker",
        "docker.io",
    ]
    assert "volumes lie in /var/lib/docker" in left[-1].why
    assert len(kept.splitlines()) == 3
    assert left_then == ()
    assert "changed since" in left[0].why
    assert "miner.toml" in left[1].why
    assert sorted(changed) == [
        "/etc/docker",
        daemon,
        files.SSHD_DROP_IN,
        "/etc/subnet",
        "/etc/subnet/miner.toml",
    ]


def test_a_machine_whose_host_key_nobody_agreed_to_is_not_touched(machine, tmp_path):
    """Without a pinned host key there is no talk at all."""

    hand = Hand(Shell(), Pins(tmp_path / "none"), machine.key)
    with pytest.raises(SettingError, match="agreed"):
        hand.plan(machine.named, WANTED, found(machine))
