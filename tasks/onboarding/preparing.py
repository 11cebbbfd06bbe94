"""The first steps of bringing machines in: look at all of them, plan, be agreed to, and have keys and authority here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tasks.edges.registering import Terms, check_terms, tao
from tasks.edges.wallets import (
    ensure_hotkey,
    hotkey_address,
    hotkey_file,
    is_coldkey_encrypted,
    owner_address,
)
from tasks.errors import ChainAway, OnboardingFailed, RegistrationRefused, SettingError, SubnetError
from tasks.onboarding.admitting import not_ours, turn_away
from tasks.onboarding.deciding import Plan, stopped
from tasks.onboarding.machine import Machine
from tasks.onboarding.naming import is_at
from tasks.onboarding.preflight import Preflight, Report
from tasks.onboarding.serving import decided
from tasks.onboarding.stages import AGENT, AUTHORITY, HERE, KEYS, LOOK, OFFER, PLACE, VERDICT
from tasks.onboarding.steps import MachinePlan, PlannedStep, PlanState, Step, StepState, Wanted
from tasks.onboarding.wishes import PORT
from tasks.onboarding.work import Onboarding
from tasks.stepping import step


@step("look and plan", deadline_s=600.0)
async def make_plan(work: Onboarding) -> None:
    """What there is to do on every machine and here; what can't be brought in is out, and nothing is changed anywhere."""
    preflight = Preflight(work.shell, work.pins, work.policy, work.human.knows)
    reports = await work.call(preflight.look_at_all, work.wishes.machines, work.key)
    for report in reports:
        heard = work.records.get(report.machine.label, VERDICT.name)
        has_verdict = heard is not None and heard.state == StepState.DONE
        if (failure := stopped(report, has_verdict=has_verdict)) is not None:
            work.fail(failure)
    await work.call(turn_away, work, reports)
    known = await _plans(work, reports)
    for plan in known:
        for first in plan.blocked[:1]:
            label = plan.machine.label
            work.fail(OnboardingFailed(first.step.name, label, first.detail, first.mend))
        if (failure := not_ours(work, plan)) is not None:
            work.fail(failure)
    terms, why = await work.call(_terms, work)
    here = tuple(_here(work, reports, terms, why))
    for planned in here:
        if planned.state is PlanState.BLOCKED:
            work.fail_all(OnboardingFailed(planned.step.name, HERE, planned.detail, planned.mend))
    work.plan = Plan(reports, known, here, terms)


@step("agree", deadline_s=86_400.0)
async def agree(work: Onboarding) -> bool:
    """Whether somebody wants it, price and ceiling known; what can't be is told before anybody is asked."""
    if not work.going or work.plan.is_empty:
        return bool(work.going)
    # Not in a thread: whoever ends it at a question ends it at once, and nothing else is at work.
    terms = work.plan.terms
    if terms is not None and terms.uid is None and not _can_pay(work, terms):
        return False
    return work.human.agrees(work.plan, _question(work, terms))


def _can_pay(work: Onboarding, terms: Terms) -> bool:
    """Ask for the ceiling and the coldkey's password, where they are needed; whether the ceiling is high enough."""
    if work.limit_rao is None:
        work.limit_rao = work.human.ceiling_rao(terms.price_rao)
        try:
            check_terms(terms, work.limit_rao)
        except RegistrationRefused as error:
            work.fail_all(OnboardingFailed(PLACE.name, HERE, f"{error.code}: {error.detail}", error.mend))
            return False
    wallet = work.wishes.wallet
    if is_coldkey_encrypted(wallet.path, wallet.name):
        work.coldkey_password = work.human.coldkey_password()
    return True


@step("keys and authority", deadline_s=60.0)
async def prepare(work: Onboarding) -> None:
    """A hotkey and an authority lie on this computer, and each machine has its name."""
    planned_for = work.authority.public
    await work.call(_prepare, work)
    if work.authority.public != planned_for:
        # Another run has made one since: machines are to trust that.
        work.plan = replace(work.plan, machines=await _plans(work, work.plan.reports))


def _prepare(work: Onboarding) -> None:
    wallet = work.wishes.wallet
    with work.here(KEYS, mend=f"subnet miner coldkey new --wallet {wallet.name}") as turn:
        owner = owner_address(wallet.path, wallet.name)
        key = ensure_hotkey(wallet.path, wallet.name, wallet.hotkey)
        turn.is_new = key.is_new
        turn.detail = f"hotkey {key.address} in {key.file}, coldkey {owner}"
    with work.here(AUTHORITY) as turn:
        turn.is_new = work.have_authority()
        turn.detail = str(work.authority_file)
    for machine in work.going:
        _name(work, machine)


def _name(work: Onboarding, machine: Machine) -> None:
    """Keep its name; the same place may have had it by another label."""
    name, config = work.executor_id(machine), work.read_config()
    known_as, place = work.records.machine_of(name), work.plan.of(machine).machine
    offers = [e.offer for e in config.executors] if config else []
    is_renamed = any(offer.executor_id == name and is_at(offer, place) for offer in offers)
    try:
        if known_as not in (None, machine.label) and is_renamed:
            work.records.unname(str(known_as))
        work.records.know(machine.label, name)
    except SubnetError as error:
        mend = f"subnet miner onboard {machine.typed}"
        work.fail(OnboardingFailed(OFFER.name, machine.label, str(error), mend))


async def _plans(work: Onboarding, reports: Sequence[Report]) -> tuple[MachinePlan, ...]:
    """Of those that are still on their way."""
    plans = await asyncio.gather(*(work.call(_plan, work, report) for report in reports))
    return tuple(plan for plan in plans if plan is not None)


def _plan(work: Onboarding, report: Report) -> MachinePlan | None:
    label = report.machine.label
    if label in work.failed:
        return None
    wishes = work.wishes
    wanted = Wanted(
        executor_id=work.executor_id(report.machine),
        authority_line=work.authority.public,
        has_engine=wishes.has_engine,
        wheels=wishes.wheels,
        environment=wishes.environment,
    )
    try:
        return work.hand.plan(report.machine, wanted, report)
    except SubnetError as error:
        work.fail(
            error
            if isinstance(error, OnboardingFailed)
            else OnboardingFailed(LOOK.name, label, str(error), f"subnet miner check {report.machine.typed}")
        )
        return None


def _terms(work: Onboarding) -> tuple[Terms | None, str]:
    """What a place costs, and why that is not known; a hotkey that is not there yet has no place."""
    wallet = work.wishes.wallet
    try:
        owner = owner_address(wallet.path, wallet.name)
        has_hotkey = hotkey_file(wallet.path, wallet.name, wallet.hotkey).is_file()
        hotkey = hotkey_address(wallet.path, wallet.name, wallet.hotkey) if has_hotkey else owner
        return work.chain.registration(hotkey, owner), ""
    except (ChainAway, SettingError) as error:
        return None, str(error)


def _here(
    work: Onboarding, reports: Sequence[Report], terms: Terms | None, why: str
) -> Iterator[PlannedStep]:
    wallet = work.wishes.wallet
    try:
        owner_address(wallet.path, wallet.name)
    except SettingError as error:
        command = f"subnet miner coldkey new --wallet-path {wallet.path} --wallet {wallet.name}"
        yield PlannedStep(KEYS, PlanState.BLOCKED, str(error), command)
        return
    hotkey = hotkey_file(wallet.path, wallet.name, wallet.hotkey)
    yield _planned(KEYS, hotkey.is_file(), f"{hotkey}")
    if work.config is not None and work.config.ssh_ca is None:
        told = f"{work.wishes.agent_file} has no ssh_ca: its machines let validators in by keys files"
        mend = f'ssh_ca = "{work.wishes.new_authority}"  # in that file, once all its machines trust that key'
        yield PlannedStep(AUTHORITY, PlanState.BLOCKED, told, mend)
    yield _planned(AUTHORITY, work.authority_file.exists(), str(work.authority_file))
    yield _place(work, terms, why)
    offered = {e.offer.executor_id for e in work.config.executors} if work.config else set()
    names = [work.executor_id(machine) for machine in work.going]
    yield _planned(OFFER, offered.issuperset(names), f"{', '.join(names)} in {work.wishes.agent_file}")
    if (planned := _agent(work, reports)) is not None:
        yield planned


def _agent(work: Onboarding, reports: Sequence[Report]) -> PlannedStep | None:
    running = work.agent.running()
    if not work.wishes.runs_agent:
        told = "it is stopped: you run it yourself"
        return PlannedStep(AGENT, PlanState.TO_DO, told) if running is not None else None
    seen = [r.found.seen_from for r in reports if r.machine.label not in work.failed]
    if not seen:
        return _planned(AGENT, running is not None, f"of {work.folder}")  # nobody is on the way to it
    try:
        work.serving = decided(work.wishes, running, seen)
    except OnboardingFailed as failure:
        return PlannedStep(AGENT, PlanState.BLOCKED, failure.why, failure.mend)
    except SettingError as error:
        mend = f"subnet miner onboard {work.wishes.machines[0].typed} --announce ADDRESS:{work.wishes.port or PORT}"
        return PlannedStep(AGENT, PlanState.BLOCKED, str(error), mend)
    told = f"of {work.folder}, at {work.serving.endpoint}"
    if running is None:
        return PlannedStep(AGENT, PlanState.TO_DO, told)
    differing = work.serving.differing(work.wishes, running)
    return _planned(AGENT, not differing, f"it is restarted: {differing}" if differing else told)


def _place(work: Onboarding, terms: Terms | None, why: str) -> PlannedStep:
    if terms is None:
        return PlannedStep(PLACE, PlanState.BLOCKED, why, "subnet miner register --json")
    if terms.uid is not None:
        return PlannedStep(PLACE, PlanState.DONE, f"uid {terms.uid}")
    limit_rao = work.limit_rao
    try:
        check_terms(terms, terms.price_rao if limit_rao is None else limit_rao)
    except RegistrationRefused as error:
        return PlannedStep(PLACE, PlanState.BLOCKED, f"{error.code}: {error.detail}", error.mend)
    locked = f", {tao(terms.locked_rao)} of it locked as collateral" if terms.locked_rao else ""
    ceiling = "" if limit_rao is None else f", at most {tao(limit_rao)} TAO are paid"
    told = f"costs {tao(terms.price_rao)} TAO now{locked}, {terms.coldkey} has {tao(terms.free_rao)}{ceiling}"
    return PlannedStep(PLACE, PlanState.TO_DO, told)


def _planned(what: Step, is_done: bool, detail: str) -> PlannedStep:  # noqa: FBT001  what it says of the step
    return PlannedStep(what, PlanState.DONE if is_done else PlanState.TO_DO, detail)


def _question(work: Onboarding, terms: Terms | None) -> str:
    machines = f"{len(work.going)} machine" + ("s" if len(work.going) > 1 else "")
    if terms is None or terms.uid is not None or work.limit_rao is None:
        return f"Bring {machines} in?"
    return f"Bring {machines} in, and pay at most {tao(work.limit_rao)} TAO for a place?"
