"""Whether a machine can be offered at all: what the last steps would find is told before the first, and before a place is paid."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from tasks.errors import OnboardingFailed
from tasks.onboarding.deciding import own_price
from tasks.onboarding.machine import Machine
from tasks.onboarding.naming import clash
from tasks.onboarding.preflight import Report
from tasks.onboarding.stages import LOOK, OFFER
from tasks.onboarding.steps import ACCOUNTS, FILES, MachinePlan, PlanState
from tasks.onboarding.work import Onboarding


def turn_away(work: Onboarding, reports: Iterable[Report]) -> None:
    """End the way of each machine that can't be offered: one after the other, since two may be the same."""
    others: dict[str, Machine] = {}
    for report in reports:
        machine = report.machine
        if machine.label in work.failed:
            continue
        name = work.executor_id(machine)
        config = work.read_config()
        offers = [executor.offer for executor in config.executors] if config else []
        failure = clash(name, machine, offers, others, work.records.machine_of(name)) or _refused(
            work, report
        )
        if failure is not None:
            work.fail(failure)
        else:
            others[name] = machine


def price_of(work: Onboarding, report: Report) -> float | None:
    """USD an hour: what its owner has made of it, was said, or is on our list; None where nobody knows."""
    name, config = work.executor_id(report.machine), work.read_config()
    for executor in config.executors if config else ():
        if executor.offer.executor_id == name:
            return executor.offer.price_usd_per_hour
    said = work.wishes.price_usd_per_hour
    return own_price(report.found.facts) if said is None else float(said)


def not_ours(work: Onboarding, plan: MachinePlan) -> OnboardingFailed | None:
    """A machine that was brought in already, of which nothing is known here: another name would shut its validators out."""
    states = {planned.step: planned.state for planned in plan.steps}
    machine = plan.machine
    is_new_here = work.records.executor_id(machine.label) is None and not work.wishes.executor_id
    if not is_new_here or (states.get(ACCOUNTS), states.get(FILES)) != (PlanState.DONE, PlanState.TO_DO):
        return None
    why = "it is brought in already, under another name or by another authority"
    mend = f"subnet miner onboard {machine.typed} --id NAME  # from now on it lets validators in by that name and this authority alone"
    return OnboardingFailed(FILES.name, machine.label, why, mend)


def _refused(work: Onboarding, report: Report) -> OnboardingFailed | None:
    machine, label = report.machine, report.machine.label
    if not work.wishes.is_local and not ipaddress.ip_address(machine.address).is_global:
        why = f"{machine.address} is no public address: validators connect to no other"
        return OnboardingFailed(LOOK.name, label, why, "subnet miner onboard USER@PUBLIC-ADDRESS:PORT")
    if price_of(work, report) is None:
        why = "our list of models has no price for this one"
        mend = f"subnet miner onboard {machine.typed} --price USD-AN-HOUR"
        return OnboardingFailed(OFFER.name, label, why, mend)
    return None
