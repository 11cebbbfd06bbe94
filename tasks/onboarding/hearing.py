"""The first verdict on each machine: what validators told the agent since it is offered, and what it means for its miner."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tasks.edges.wire import MachineResult, Results
from tasks.errors import OnboardingFailed
from tasks.offering.memory import told_results
from tasks.onboarding.machine import Machine
from tasks.onboarding.mends import command_of
from tasks.onboarding.stages import OFFER, PROOF, VERDICT
from tasks.onboarding.steps import StepState
from tasks.onboarding.work import Onboarding
from tasks.stepping import step

POLL_S = 0.5


async def hear(work: Onboarding) -> None:
    """Wait until a validator has told of each machine."""
    await work.each(VERDICT.name, hear_of)


@step("verdict", run_name="verdict on {machine.label}", deadline_s=86_400.0)
async def hear_of(work: Onboarding, machine: Machine) -> None:
    """The first verdict on one machine since it is offered as it is."""
    name, records = work.executor_id(machine), work.records
    offered, last = records.get(machine.label, OFFER.name), records.get(machine.label, VERDICT.name)
    if records.holds(machine.label, VERDICT.name, name) and newest_told(work.folder, name, 0):
        return
    since_s = offered.at_s if offered is not None else 0.0
    if last is not None and last.state == StepState.FAILED:
        since_s = max(since_s, last.at_s + last.seconds)  # what was told until then has been told
    mend = f"subnet miner visits --config {work.wishes.agent_file} --executor {name}"
    with work.at(VERDICT, machine, mark=name, mend=mend) as turn:
        told = await _first_told(work, machine, int(since_s), mend)
        if not any(result.score > 0 for _, _, result in told):
            records.drop(machine.label, PROOF.name)  # what has changed since is to be seen here first
            raise _unpaid(machine, [result for _, _, result in told])
        turn.detail = "; ".join(f"{hotkey[:6]}.. scores it {result.score:.4g}" for hotkey, _, result in told)


async def _first_told(
    work: Onboarding, machine: Machine, since_s: int, mend: str
) -> list[tuple[str, Results, MachineResult]]:
    name, until = work.executor_id(machine), time.monotonic() + work.wishes.wait_s
    while not (told := newest_told(work.folder, name, since_s)):
        if time.monotonic() > until:
            why = f"no validator told of it in {work.wishes.wait_s:.0f} s"
            raise OnboardingFailed(VERDICT.name, machine.label, why, mend)
        await asyncio.sleep(POLL_S)
    return told


def _unpaid(machine: Machine, told: list[MachineResult]) -> OnboardingFailed:
    """Nobody who told of it pays it: the first reason that decides."""
    decides = [r for result in told for r in result.reasons if r.severity != "warn" and not r.is_shadow]
    if not decides:
        return OnboardingFailed(VERDICT.name, machine.label, "it is not paid, and no reason was told")
    first = decides[0]
    # A validator's words are no command of ours: none of them stands where one is copied from.
    why = f"{first.code}: got {first.got}; wanted {first.wanted}; the validator says: {first.mend}"
    return OnboardingFailed(VERDICT.name, machine.label, why, command_of(first.code, machine))


def newest_told(folder: Path, executor_id: str, since_s: int) -> list[tuple[str, Results, MachineResult]]:
    """What validators have told of a machine since then: hotkey, the whole of it, and the machine's part."""
    return [
        (hotkey, results, machine)
        for hotkey, results in sorted(told_results(folder).items())
        for machine in results.machines
        if machine.executor_id == executor_id and results.scored_at >= since_s
    ]
