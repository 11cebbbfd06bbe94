"""Taking machines out again: no renter is on them, validators find them no more, and each is as it was before."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import time
from contextlib import closing
from dataclasses import replace
from itertools import chain, count

from tasks.errors import BadAnswer, HostAway, OnboardingFailed, SubnetError
from tasks.inspection.facts.text import shown
from tasks.inspection.output import Command, FactOutput
from tasks.inspection.talk import ask_facts, start_runner
from tasks.offering import fleet
from tasks.onboarding.deciding import Plan
from tasks.onboarding.login import looked_up
from tasks.onboarding.machine import Machine
from tasks.onboarding.naming import is_at
from tasks.onboarding.opening import end_agent
from tasks.onboarding.stages import AGENT, UNDO, WITHDRAW
from tasks.onboarding.steps import Left, PlannedStep, PlanState
from tasks.onboarding.work import Onboarding
from tasks.renting.containers import LABEL, VOLUME_LABEL
from tasks.stepping import step

ASK_S = 30.0
CONTAINER = re.compile(rb"[0-9a-f]{12,64}")
NO_ANSWER = b"no answer from"
_EACH = 's=; [ "$(id -u)" = 0 ] || s="sudo -n"; for e in docker podman; do if command -v $e >/dev/null; then '
RENTED = Command(
    "rented",
    f"{_EACH}$s $e ps --all --quiet --filter label={LABEL} || echo {NO_ANSWER.decode()} $e; fi; done",
    timeout_s=20.0,
    limit_bytes=1 << 16,
)
"""The ids of renters' containers, a line each; one that is stopped has its renter's data."""
REMOVED = Command(
    "removed",
    f"{_EACH}"
    f'i=$($s $e ps --all --quiet --filter label={LABEL}); [ -z "$i" ] || $s $e rm --force --volumes $i; '
    f'i=$($s $e volume ls --quiet --filter label={VOLUME_LABEL}); [ -z "$i" ] || $s $e volume rm --force $i; '
    "fi; done >/dev/null",
    timeout_s=90.0,
    limit_bytes=1 << 16,
)
"""Whatever of renters is there is gone."""


async def plan_leave(work: Onboarding) -> None:
    """What there is to do, by the agent's file and the pins here; the machines are not asked."""
    offered = _offered(work)
    # What is not clear is no refusal yet: leaving asks again.
    asked = (work.call(_offered_as, work, machine, is_forced=True) for machine in work.wishes.machines)
    names = await asyncio.gather(*asked)
    ends = bool(offered) and set(offered) <= set(names)
    here = [
        PlannedStep(
            WITHDRAW,
            PlanState.TO_DO if name else PlanState.DONE,
            f"{machine.label} is {name}" if name else f"{machine.label} is not in {work.wishes.agent_file}",
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
    with work.at(WITHDRAW, machine) as turn:
        name = _offered_as(work, machine, is_forced=is_forced)
        if name is not None:
            _pause(work, name)
        # Whether or not this computer's file offers it: another's may.
        if is_forced:
            _end_leases(work, machine)
        else:
            _check_free(work, machine)
        if name is None:
            turn.is_new, turn.detail = False, f"it is not in {work.wishes.agent_file}"
            return
        with work.alone:
            turn.detail = _take_out(work, machine, name)


def _offered_as(work: Onboarding, machine: Machine, *, is_forced: bool) -> str | None:
    """The name by which the agent's file has this machine, whatever it was called here; None: it is not in there."""
    config, host_key = work.read_config(), work.pins.of(machine)
    offers = [executor.offer for executor in config.executors] if config else []
    with contextlib.suppress(HostAway):
        machine = looked_up(machine)
    if there := [offer for offer in offers if is_at(offer, machine)]:
        return there[0].executor_id
    key = base64.b64encode(host_key or b"").decode()
    same = {offer.executor_id: offer for offer in offers if offer.host_key == key}
    if work.executor_id(machine) in same:
        return work.executor_id(machine)
    if same and not is_forced:
        name, offer = next(iter(same.items()))
        found = replace(machine, name=offer.address, port=offer.port)
        why = f"its host key is that of {name}, which is at {found.place}: name it so"
        raise OnboardingFailed(WITHDRAW.name, machine.label, why, f"subnet miner offboard {found.typed}")
    return None


def _offered(work: Onboarding) -> list[str]:
    config = work.read_config()
    return [executor.offer.executor_id for executor in config.executors] if config else []


def _take_out(work: Onboarding, machine: Machine, name: str) -> str:
    file = work.wishes.agent_file
    if _offered(work) != [name]:
        fleet.change(file, fleet.remove(name))
        return f"{name} is out of {file}"
    if work.agent.running() is None:
        told = (
            f"where one runs by its unit, it offers {name} until then: systemctl disable --now subnet-miner"
        )
        _leave(work, machine, Left("an agent that you run yourself", told))
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


def _end_leases(work: Onboarding, machine: Machine) -> None:
    """Renters' containers and volumes are removed; where that can't be done, it is told what is left there."""
    try:
        _asked(work, machine, REMOVED)
        running = _rented(work, machine)
        if running:
            _leave(work, machine, Left("renters' containers", f"{running} can't be removed"))
    except SubnetError as error:
        _leave(work, machine, Left("renters' containers", f"whether there are any can't be told: {error}"))


def _leave(work: Onboarding, machine: Machine, *left: Left) -> None:
    work.left[machine.label] = (*work.left.get(machine.label, ()), *left)


def _rented(work: Onboarding, machine: Machine) -> int:
    """How many containers of renters run there."""
    return rented_by(_asked(work, machine, RENTED))


def _asked(work: Onboarding, machine: Machine, command: Command) -> FactOutput:
    """What one command prints there."""
    host_key, deadline = work.pins.of(machine), time.monotonic() + ASK_S + command.timeout_s
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
        (output,) = ask_facts(session, (command,), deadline=deadline)
    return output


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
    names = chain([f"{file.name}.old"], (f"{file.name}.old.{number}" for number in count(1)))
    old = next(path for path in map(file.with_name, names) if not path.exists())
    file.replace(old)
    return str(old)


def _undo(work: Onboarding, machine: Machine) -> None:
    with work.at(UNDO, machine, mend=f"subnet miner offboard {machine.typed}") as turn:
        left = work.hand.undo(machine, work.on_machine)
        _leave(work, machine, *left)
        if left:
            why = "left there: " + "; ".join(f"{one.what}: {one.why}" for one in left)
            mend = f"subnet miner offboard {machine.typed}  # once more, when that is looked after"
            raise OnboardingFailed(UNDO.name, machine.label, why, mend)
        turn.detail = "it is as it was"
    work.records.forget(machine.label)
