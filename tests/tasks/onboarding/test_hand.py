"""The hand on a bare machine: real OpenSSH, users, packages and Python, and a list of every file that is not as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployments.localnet.warming import warm_cache
from deployments.sites import REPOSITORY
from storage.records import Executor
from tasks.edges.shell import EpochKey, Shell
from tasks.errors import HostAway, OnboardingFailed
from tasks.inspection.talk import start_runner
from tasks.onboarding.confinement import files
from tasks.onboarding.confinement.certificates import Authority
from tasks.onboarding.confinement.grants import Grant
from tasks.onboarding.confinement.keeper import uid_of
from tasks.onboarding.hand import opened
from tasks.onboarding.preflight import Preflight
from tasks.onboarding.steps import STEPS, MachinePlan, PlanState, StepState, Wanted
from tasks.policy import LOCALNET
from tests.deployments.localnet.visiting import proved
from tests.deployments.miner.bare_machine import (
    ENVIRONMENT,
    PROVED,
    PROVER,
    PYTHON,
    BareMachine,
    bare_machine,
    line,
)
from tests.tasks.onboarding import bringing, mortal

HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
AUTHORITY = Ed25519PrivateKey.generate()
WANTED = Wanted("rack1-a", line(AUTHORITY), environment=ENVIRONMENT)

pytestmark = pytest.mark.xdist_group("bare")


def report_of(machine: BareMachine):
    """What the miner's own look finds."""
    return Preflight(Shell(), machine.pins, LOCALNET, lambda *_: False).look(machine.named, machine.key)


def states(plan: MachinePlan) -> dict[str, PlanState]:
    return {planned.step.name: planned.state for planned in plan.steps}


def certified(key: EpochKey) -> EpochKey:
    """With what the miner's agent signs for a validator."""
    now = datetime.now(UTC)
    grant = Grant(key.public_line, HOTKEY, 7, now + timedelta(minutes=5))
    return key.certified(Authority(AUTHORITY).issue(grant, WANTED.executor_id, now=now))


def announced(machine: BareMachine, python: str) -> Executor:
    """As the miner announces it."""
    named = machine.named
    return Executor(
        "rack1-a",
        HOTKEY,
        4,
        10,
        named.address,
        named.port,
        files.VALIDATE_USER,
        python,
        machine.host_key,
        1.0,
    )


@dataclass
class Life:
    """What was seen of one machine, from bare to bare."""

    planned: MachinePlan
    after_plan: dict[str, str]
    events: list[tuple[str, StepState]]
    after: dict[str, str]
    verdict: str
    again: list[tuple[str, StepState]]
    replanned: MachinePlan
    after_again: dict[str, str]
    journal: str
    left: tuple
    at_the_end: dict[str, str]
    undone_again: list[tuple[str, StepState]]
    processes: str


@pytest.fixture(scope="module")
def life(tmp_path_factory, request) -> Life:
    """Brought in, proved, brought in again, taken out, taken out again."""
    kernels = request.config.cache.mkdir("kernels")
    warm_cache(kernels)
    with bare_machine(tmp_path_factory.mktemp("bare") / "m", kernels=kernels) as machine:
        events, again, undone_again = [], [], []
        report = report_of(machine)
        plan = machine.hand.plan(machine.named, WANTED, report)
        after_plan = machine.changed()
        machine.hand.carry_out(plan, lambda e: events.append((e.step.name, e.state)))
        after = machine.changed()
        replanned = machine.hand.plan(machine.named, WANTED, report)
        machine.hand.carry_out(replanned, lambda e: again.append((e.step.name, e.state)))
        after_again, journal = machine.changed(), machine.run("cat", "/var/lib/subnet-onboarding.json")
        machine.warm(HOTKEY)
        key, executor = certified(EpochKey.generate()), announced(machine, plan.python)
        with Shell().open(executor, key, deadline=soon()) as session:
            verdict = proved(session, PROVED).code
        with Shell().open(executor, key, deadline=soon()) as session:
            start_runner(session, deadline=soon())
            as_validator(machine, HOSTILE)
            left = machine.hand.undo(machine.named, lambda _: None)
            with pytest.raises(HostAway):
                session.receive(deadline=soon(), limit_bytes=1)
        at_the_end, processes = machine.changed(), machine.run("ps", "-eo", "uid,args")
        machine.hand.undo(machine.named, lambda e: undone_again.append((e.step.name, e.state)))
        return Life(
            plan,
            after_plan,
            events,
            after,
            verdict,
            again,
            replanned,
            after_again,
            journal,
            left,
            at_the_end,
            undone_again,
            processes,
        )


def soon() -> float:
    return time.monotonic() + 20.0


HOSTILE = """
for folder in places:
    os.chdir(folder)
    for _ in range(3_000):
        os.mkdir("d")
        os.chdir("d")
fcntl.flock(os.open("/var/lib", os.O_RDONLY), fcntl.LOCK_EX)
if os.fork() == 0:
    os.closerange(0, 3)
    time.sleep(60)
"""
"""Trees that are deeper than Python recurses, and a lock on what everybody may open."""


def as_validator(machine: BareMachine, program: str) -> None:
    """What a validator's session does there."""
    uid = uid_of(f"subnet:{HOTKEY}:7")
    begin = f"""
import fcntl, os, time
places = [os.open("{files.STATE}/" + name, os.O_RDONLY) for name in ("locks", "homes/{uid}")]
os.setgroups([]), os.setresgid(*[{uid}] * 3), os.setresuid(*[{uid}] * 3)
"""
    machine.run(PYTHON, "-I", "-c", begin + program)


def test_a_plan_says_what_there_is_to_do_and_does_nothing(life):
    """Planning a bare machine names every step with what is missing, and leaves the machine as it is."""

    assert states(life.planned) == {
        step.name: PlanState.NOT_NEEDED if step.name == "toolkit" else PlanState.TO_DO for step in STEPS
    }
    assert life.planned.python == "/opt/subnet/bin/python"
    assert life.after_plan == {}


def test_a_machine_that_was_brought_in_lets_a_validator_prove_it(life):
    """After carrying out, a certificate of the miner's authority lets in, and the proof of all its cards holds."""

    assert [state for name, state in life.events] == [StepState.BEGUN, StepState.DONE] * 7
    assert life.verdict == "PROVED"


def test_twice_changes_nothing(life):
    """Carried out once more, each step finds nothing to do, and no file differs from before."""

    assert set(states(life.replanned).values()) == {PlanState.DONE, PlanState.NOT_NEEDED}
    assert [state for name, state in life.again] == [StepState.BEGUN, StepState.NOTHING_TO_DO] * 7
    assert life.after_again == life.after


def test_undone_leaves_exactly_what_was_before(life):
    """Path, mode, owner and content of everything are as they were, and undoing once more finds nothing.

    A validator that was there had locked the machine's folders, and left trees that are deeper than Python recurses.
    """

    assert life.left == ()
    assert life.at_the_end == {}
    assert {state for _, state in life.undone_again} == {StepState.BEGUN, StepState.NOTHING_TO_DO}


def test_undone_ends_what_runs_there(life):
    """A validator's session that was open is over, and the keeper gone."""

    assert "keeper" not in life.processes
    assert str(uid_of(f"subnet:{HOTKEY}:7")) not in life.processes


def test_the_journal_holds_no_secret(life):
    """What lies on the machine of its own past names no key and no password."""

    assert "PRIVATE" not in life.journal
    assert "authorized_keys/subnet" in life.journal
    assert line(AUTHORITY).split()[1] not in life.journal


# --- killed, and again -----------------------------------------------------------------------------

MORTAL = "/usr/local/bin/mortal"
MORTAL_THINGS = {
    MORTAL: f'#!/bin/sh\nexec {PYTHON} -I /usr/local/lib/mortal.py "$@"\n',
    "/usr/local/lib/mortal.py": Path(mortal.__file__).read_text(),
}
QUICK = replace(WANTED, python=PROVER, has_engine=False)


def dying(machine: BareMachine, lives: int | None) -> BareMachine:
    """The same machine, on which the hand's program makes so many changes and is killed at the next; None: it lives."""
    machine.run(
        "sh", "-c", f"echo {lives} > {mortal.LIVES}" if lives is not None else f"rm -f {mortal.LIVES}"
    )
    return replace(machine, named=replace(machine.named, python=MORTAL))


def tried(act, machine: BareMachine, lives: int) -> bool:
    """Whether it came to its end before it was killed."""
    try:
        act(dying(machine, lives))
    except OnboardingFailed as failed:
        if "cut off" in failed.why:
            return False
        raise
    return True


def brought_in(machine: BareMachine, wanted: Wanted, report) -> None:
    plan = machine.hand.plan(machine.named, wanted, report)
    machine.hand.carry_out(plan, lambda _: None)


def taken_out(machine: BareMachine) -> None:
    assert machine.hand.undo(machine.named, lambda _: None) == ()


def changes_of(act, machine: BareMachine) -> int:
    """How many changes it makes when nobody disturbs it."""
    act(dying(machine, 1_000_000))
    return 1_000_000 - int(machine.run("cat", mortal.LIVES))


def test_killed_amid_its_changes_it_ends_the_same(tmp_path):
    """The hand's program, run by `sudo`, is killed amid its work and run again: the machine ends as it would have.

    Undoing is killed as well, and run again: the machine is as it was.
    """

    with bare_machine(tmp_path / "m", user="miner", things=MORTAL_THINGS) as machine:
        report = report_of(machine)
        taken_in = partial(brought_in, wanted=QUICK, report=report)
        number = changes_of(taken_in, machine)
        whole = machine.changed()
        back = changes_of(taken_out, machine)
        assert machine.changed() == {}

        for part in (0, 0.3, 0.4):  # each of what is left
            assert not tried(taken_in, machine, int(part * number))
        assert tried(taken_in, machine, number)
        assert machine.changed() == whole
        for part in (0, 0.5):
            assert not tried(taken_out, machine, int(part * back))
        assert tried(taken_out, machine, back + 2)
        assert machine.changed() == {}


def test_killed_on_the_control_host_it_ends_the_same(tmp_path):
    """The process that brings a machine in is killed amid a step; another one, at once, gets the machine to the same end.

    What it began there as root, by `sudo`, may go on meanwhile: the other one waits for it.
    """

    wanted = replace(WANTED, python=PROVER)
    with bare_machine(tmp_path / "m", user="miner") as machine:
        report = report_of(machine)
        brought_in(machine, wanted, report)
        whole = machine.changed()
        taken_out(machine)
        for amid in ("engine", "files"):
            words = [machine.named.address, str(machine.folder), wanted.authority_line, amid]
            command = [sys.executable, "-m", bringing.__name__, *words]
            done = subprocess.run(command, check=False, timeout=120, cwd=REPOSITORY)
            assert done.returncode == -signal.SIGKILL
        brought_in(machine, wanted, report)

        assert machine.changed() == whole
        taken_out(machine)
        assert machine.changed() == {}


@pytest.mark.long
def test_killed_at_any_change_it_ends_the_same(tmp_path):
    """Killed at the first change, at the sixth, and so on to the last: each time it is gone on with, and undone, to the end."""

    with bare_machine(tmp_path / "m", things=MORTAL_THINGS) as machine:
        report = report_of(machine)
        taken_in = partial(brought_in, wanted=replace(QUICK, has_engine=True), report=report)
        number = changes_of(taken_in, machine)
        whole = machine.changed()
        back = changes_of(taken_out, machine)

        for lives in range(0, max(number, back), 6):
            # One run makes a change or two more than another, by what the package managers find.
            assert not tried(taken_in, machine, lives) or lives >= number - 2
            assert tried(taken_in, machine, number + 2)
            assert machine.changed() == whole, lives
            assert not tried(taken_out, machine, lives) or lives >= back - 2
            assert tried(taken_out, machine, back + 2)
            assert machine.changed() == {}, lives


class Reloading:
    """A shell to a machine whose SSH server does not listen for some tries."""

    def __init__(self, tries, phase="connect"):
        self.tries, self.phase, self.asked = tries, phase, 0

    def open(self, *_, **__):
        """The session, once it listens."""
        self.asked += 1
        if self.asked <= self.tries:
            raise HostAway(self.phase, "refused")
        return "a session"


@pytest.mark.parametrize(("tries", "phase", "asked"), [(3, "connect", 4), (9, "connect", 4), (1, "auth", 1)])
def test_a_server_that_reloads_is_waited_for(tries, phase, asked):
    """As it does when a run was killed amid its settings; who does not let us in is not asked again."""
    shell = Reloading(tries, phase)
    with nullcontext() if tries < asked else pytest.raises(HostAway):
        assert opened(shell, None, None, time.monotonic() + 60) == "a session"

    assert shell.asked == asked
