"""The hand on a bare machine: real OpenSSH, users, packages and Python, and a list of every file that is not as it was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployments.localnet.warming import warm_cache
from storage.records import Executor
from tasks.edges.shell import EpochKey, Shell
from tasks.onboarding.confinement import files
from tasks.onboarding.confinement.certificates import Authority
from tasks.onboarding.confinement.grants import Grant
from tasks.onboarding.preflight import Preflight
from tasks.onboarding.steps import STEPS, MachinePlan, PlanState, StepState, Wanted
from tasks.policy import LOCALNET
from tests.deployments.localnet.visiting import proved
from tests.deployments.miner.bare_machine import ENVIRONMENT, PROVED, BareMachine, bare_machine, line

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
        left = machine.hand.undo(machine.named, lambda _: None)
        at_the_end = machine.changed()
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
        )


def soon() -> float:
    import time

    return time.monotonic() + 20.0


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
    """Path, mode, owner and content of everything are as they were, and undoing once more finds nothing."""

    assert life.left == ()
    assert life.at_the_end == {}
    assert {state for _, state in life.undone_again} == {StepState.BEGUN, StepState.NOTHING_TO_DO}


def test_the_journal_holds_no_secret(life):
    """What lies on the machine of its own past names no key and no password."""

    assert "PRIVATE" not in life.journal
    assert "authorized_keys/subnet" in life.journal
    assert line(AUTHORITY).split()[1] not in life.journal
