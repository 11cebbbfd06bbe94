"""Machines side by side: whatever breaks on one of them costs only that one."""

from __future__ import annotations

import asyncio

import pytest

from storage.errors import StorageError
from tasks.errors import BadAnswer, HostAway, LimitExceeded, OnboardingFailed
from tasks.onboarding.deciding import Plan
from tasks.onboarding.installing import install
from tasks.onboarding.machine import parse_machine
from tasks.onboarding.steps import MachinePlan
from tests.tasks.onboarding.a_run import a_run

MACHINES = tuple(map(parse_machine, ("203.0.113.7", "ubuntu@gpu.example:2222", "203.0.113.9")))


class BreakingHand:
    """Whatever is done on the second machine ends with this error."""

    def __init__(self, error):
        self.error, self.done = error, []

    def carry_out(self, plan, _on_step):
        if plan.machine.port == 2222:
            raise self.error
        self.done.append(plan.machine.name)


@pytest.mark.parametrize(
    "error",
    [
        HostAway("talk", "the connection broke"),
        BadAnswer("no JSON"),
        LimitExceeded("lines", "8"),
        StorageError("the disk is full"),
        TimeoutError(),
        OnboardingFailed("sshd", "[gpu.example]:2222", "invalid", "sshd -t"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_breaks_on_one_machine_costs_only_that_one(tmp_path, error):
    """The others are brought in; which step, why, and the very command that goes on are told."""

    work = a_run(tmp_path, lambda _: None, machines=MACHINES)
    work.hand = BreakingHand(error)
    work.plan = Plan(machines=tuple(MachinePlan(machine, None, ()) for machine in MACHINES))
    asyncio.run(install(work))
    work.close()

    (failure,) = work.failed.values()
    assert sorted(work.hand.done) == ["203.0.113.7", "203.0.113.9"]
    assert (failure.machine, bool(failure.step), bool(failure.why)) == ("[gpu.example]:2222", True, True)
    assert failure.mend in ("subnet miner onboard ubuntu@gpu.example:2222", "sshd -t")


def test_a_command_that_mends_names_a_machine_as_commands_take_it():
    """With its user and port, whatever it is."""

    for machine in (*MACHINES, parse_machine("[2001:db8::7]:2222")):
        assert parse_machine(machine.typed) == machine
