"""Taking machines out again: no renter is on them, validators find them no more, and each is as it was before."""

from __future__ import annotations

import re
import time
from contextlib import closing

from tasks.errors import BadAnswer, OnboardingFailed, SubnetError
from tasks.inspection.facts.text import shown
from tasks.inspection.output import Command, FactOutput
from tasks.inspection.talk import ask_facts, start_runner
from tasks.offering import fleet
from tasks.onboarding.deciding import Plan
from tasks.onboarding.login import looked_up
from tasks.onboarding.machine import Machine
from tasks.onboarding.opening import end_agent
from tasks.onboarding.stages import AGENT, UNDO, WITHDRAW
from tasks.onboarding.steps import PlannedStep, PlanState
from tasks.onboarding.work import Onboarding
from tasks.renting.containers import LABEL
from tasks.stepping import step

ASK_S = 30.0
CONTAINER = re.compile(rb"[0-9a-f]{12,64}")
NO_ANSWER = b"no answer from"
RENTED = Command(
    "rented",
    's=; [ "$(id -u)" = 0 ] || s="sudo -n"; for e in docker podman; do if command -v $e >/dev/null; then '
    f"$s $e ps --all --quiet --filter label={LABEL} || echo {NO_ANSWER.decode()} $e; fi; done",
    timeout_s=20.0,
    limit_bytes=1 << 16,
)
"""The ids of renters' containers, a line each; one that is stopped has its renter's data."""


async def plan_leave(work: Onboarding) -> None:
    """What there is to do, by the agent's file and the records here; the machines are not asked."""
    offered = _offered(work)
    names = [work.executor_id(machine) for machine in work.wishes.machines]
    ends = bool(offered) and set(offered) <= set(names)
    here = [
        PlannedStep(
            WITHDRAW,
            PlanState.TO_DO if name in offered else PlanState.DONE,
            f"{machine.label} is {name}" + ("" if name in offered else f": not in {work.wishes.agent_file}"),
        )
        for machine, name in zip(work.wishes.machines, names, strict=True)
    ]
    if ends and work.agent.running() is not None:
        here.append(PlannedStep(AGENT, PlanState.TO_DO, "it is stopped: no machine is left"))
    here += [PlannedStep(UNDO, PlanState.TO_DO, machine.label) for machine in work.wishes.machines]
    work.plan = Plan(here=tuple(here))


async def leave(work: Onboarding, *, is_forced: bool) -> None:
    """Take every machine out, side by side; one that is rented stays, unless that is forced."""

    async def one(work: Onboarding, machine: Machine) -> None:
        await withdraw(work, machine, is_forced)
        await undo(work, machine)

    await work.each("leave", one, "offboard")


@step("withdraw", run_name="withdraw {machine.label}", deadline_s=120.0)
async def withdraw(work: Onboarding, machine: Machine, is_forced: bool) -> None:  # noqa: FBT001  as Prefect calls it
    """Out of the agent's file; with the last machine the agent ends."""
    await work.call(_withdraw, work, machine, is_forced=is_forced)


@step("undo", run_name="undo {machine.label}", deadline_s=1_800.0)
async def undo(work: Onboarding, machine: Machine) -> None:
    """Everything that was done on the machine, backwards."""
    await work.call(_undo, work, machine)


def _withdraw(work: Onboarding, machine: Machine, *, is_forced: bool) -> None:
    name, file = work.executor_id(machine), work.wishes.agent_file
    with work.at(WITHDRAW, machine) as turn:
        if name not in _offered(work):
            turn.is_new, turn.detail = False, f"{name} is not in {file}"
            return
        _pause(work, name)
        if not is_forced:
            _check_free(work, machine)
        with work.alone:
            turn.detail = _take_out(work, name)


def _offered(work: Onboarding) -> list[str]:
    config = work.read_config()
    return [executor.offer.executor_id for executor in config.executors] if config else []


def _take_out(work: Onboarding, name: str) -> str:
    file = work.wishes.agent_file
    if _offered(work) != [name]:
        fleet.change(file, fleet.remove(name))
        return f"{name} is out of {file}"
    end_agent(work)
    return f"{name} was the last machine: {file} is now {_put_away(work)}"


def _pause(work: Onboarding, name: str) -> None:
    """From now on nobody rents it anew, also when the rest has to wait."""
    put, file = fleet.put(name, "paused_from", int(time.time())), work.wishes.agent_file
    fleet.change(
        file, lambda text: text if fleet.machine(text, name).get("paused_from") is not None else put(text)
    )


def _check_free(work: Onboarding, machine: Machine) -> None:
    mend = f"subnet miner offboard {machine.typed} --force  # or wait: it is paused, no new renter comes"
    try:
        running = _rented(work, machine)
    except SubnetError as error:
        why = f"whether renters are on it can't be told: {error}"
        raise OnboardingFailed(WITHDRAW.name, machine.label, why, mend) from error
    if running:
        why = f"{running} container{'s' if running > 1 else ''} of renters on it"
        raise OnboardingFailed(WITHDRAW.name, machine.label, why, mend)


def _rented(work: Onboarding, machine: Machine) -> int:
    """How many containers of renters run there."""
    host_key, deadline = work.pins.of(machine), time.monotonic() + ASK_S
    if host_key is None:
        raise OnboardingFailed(
            WITHDRAW.name,
            machine.label,
            "its host key is not known here",
            f"subnet miner check {machine.typed}",
        )
    target = looked_up(machine).executor(host_key)
    with closing(work.shell.open(target, work.key, deadline=deadline)) as session:
        start_runner(session, deadline=deadline)
        (output,) = ask_facts(session, (RENTED,), deadline=deadline)
    return rented_by(output)


def rented_by(output: FactOutput) -> int:
    """How many containers the engines told of; BadAnswer when one did not answer: it may well have some."""
    lines = output.stdout.splitlines()
    if output.exit_code != 0 or any(line.startswith(NO_ANSWER) for line in lines):
        told = output.stderr.decode("utf-8", "replace").strip()
        raise BadAnswer(f"its container engine does not answer: {shown(told, 200)}")
    return sum(CONTAINER.fullmatch(line) is not None for line in lines)


def _put_away(work: Onboarding) -> str:
    """The file of an agent without machines, out of the way: terms of its owner's may stand in it."""
    file = work.wishes.agent_file
    old = file.with_name(f"{file.name}.old")
    file.replace(old)
    return str(old)


def _undo(work: Onboarding, machine: Machine) -> None:
    with work.at(UNDO, machine, mend=f"subnet miner offboard {machine.typed}") as turn:
        work.left[machine.label] = left = work.hand.undo(machine, work.on_machine)
        turn.detail = f"{len(left)} things are left there" if left else "it is as it was"
    work.records.forget(machine.label)
