"""On each machine: everything that is missing is put in place, and its cards are proved by the way that validators come in."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from storage.records import Bandwidth, Executor, ExecutorRecord, HostFacts, Verdict
from tasks.edges.shell import EpochKey, Session
from tasks.edges.wallets import hotkey_address
from tasks.errors import ChainAway, ChainRefused, OnboardingFailed
from tasks.inspection.checks import check_host
from tasks.inspection.facts import COMMANDS, read_facts
from tasks.inspection.talk import ask_facts, start_runner
from tasks.onboarding.confinement.files import VALIDATE_USER
from tasks.onboarding.confinement.grants import Grant
from tasks.onboarding.deciding import in_the_way
from tasks.onboarding.login import looked_up
from tasks.onboarding.machine import Machine
from tasks.onboarding.stages import PROOF
from tasks.onboarding.work import Onboarding
from tasks.policy import digest_of
from tasks.proof.challenge import ProofKind
from tasks.renting.proving import Subject, Surroundings, prove_cards
from tasks.stepping import step

GRANT_S = 900
"""As long as a validator asks to be let in for."""
PROOF_S = 300.0
NO_HASH = "0x" + "00" * 32


async def install(work: Onboarding) -> None:
    """Carry out every machine's plan, side by side; a machine that fails costs only itself."""
    await work.each("install", install_machine)


async def prove(work: Onboarding) -> None:
    """Prove every machine's cards, side by side."""
    await work.each(PROOF.name, prove_machine)


@step("install", run_name="install {machine.label}", deadline_s=3_600.0)
async def install_machine(work: Onboarding, machine: Machine) -> None:
    """All of the machine's own steps."""
    await work.call(work.hand.carry_out, work.plan.of(machine), work.on_machine)


@step("prove", run_name="prove {machine.label}", deadline_s=PROOF_S + 60.0)
async def prove_machine(work: Onboarding, machine: Machine) -> None:
    """One proof, unless this very machine has been proved already as it is."""
    await work.call(_prove, work, machine)


def announced(work: Onboarding, machine: Machine, hotkey: str = "") -> Executor:
    """The machine as validators are told of it."""
    host_key = work.pins.of(machine)
    assert host_key is not None, "it was looked at"
    found = looked_up(machine).executor(host_key)
    python = work.plan.of(machine).python
    name = work.executor_id(machine)
    return replace(found, executor_id=name, miner_hotkey=hotkey, user=VALIDATE_USER, python=python)


def _prove(work: Onboarding, machine: Machine) -> None:
    wallet = work.wishes.wallet
    hotkey = hotkey_address(wallet.path, wallet.name, wallet.hotkey)
    executor = announced(work, machine, hotkey)
    cards = ",".join(card.uuid for card in work.plan.report_of(machine).found.facts.cards)
    mark = digest_of(f"{executor}{cards}{work.policy}")
    done = work.records.holds(machine.label, PROOF.name, mark)
    if done is not None:
        return
    with work.at(PROOF, machine, mark=mark, mend=f"subnet miner check {machine.typed}") as turn:
        facts = _facts_seen(work, machine, executor)
        verdict = _verdict(work, executor, facts)
        if not verdict.proved:
            raise _refused(machine, verdict)
        turn.detail = _told(facts, verdict)


def _facts_seen(work: Onboarding, machine: Machine, executor: Executor) -> HostFacts:
    """What a validator's session finds, which is confined; OnboardingFailed for what would not be paid."""
    deadline = time.monotonic() + work.policy.inspection.session_deadline_s
    with closing(_session(work, executor, deadline)) as session:
        outputs = ask_facts(session, COMMANDS, deadline=deadline)
    facts, unreadable = read_facts({output.name: output for output in outputs})
    # The line to a validator is not the one to here: any figure that is fast enough does.
    fast = Bandwidth(1e6, 1e6, samples=1)
    found = unreadable + check_host(facts, ExecutorRecord(executor.key), fast, work.policy.inspection)
    if reasons := in_the_way(found):
        first = reasons[0]
        why = f"{first.code} for a confined user: got {first.got}; wanted {first.wanted}"
        raise OnboardingFailed(PROOF.name, machine.label, why, first.mend)
    return facts


def _verdict(work: Onboarding, executor: Executor, facts: HostFacts) -> Verdict:
    block, block_hash = _newest(work)
    subject = Subject(executor, facts.cards, work.netuid, block, block_hash, attempt=1)

    def open_session(deadline: float) -> Session:
        return _session(work, executor, deadline)

    around = Surroundings(open_session, executor.miner_hotkey, work.policy)
    return prove_cards(subject, around, ProofKind.FULL, deadline=time.monotonic() + PROOF_S)


def _session(work: Onboarding, executor: Executor, deadline: float) -> Session:
    """A session of a validator's: a certificate for minutes, of the miner's own authority."""
    now, key = datetime.now(UTC), EpochKey.generate()
    grant = Grant(key.public_line, executor.miner_hotkey, 0, now + timedelta(seconds=GRANT_S))
    certificate = work.authority.issue(grant, executor.executor_id, now=now)
    session = work.shell.open(executor, key.certified(certificate), deadline=deadline)
    try:
        start_runner(session, deadline=deadline)
    except BaseException:
        session.close()
        raise
    return session


def _newest(work: Onboarding) -> tuple[int, str]:
    """The chain's newest block: the proof is our own affair, so that one will do that is none."""
    try:
        head = work.chain.head()
    except (ChainAway, ChainRefused):
        return 0, NO_HASH
    return head.block, head.block_hash


def _refused(machine: Machine, verdict: Verdict) -> OnboardingFailed:
    reasons = verdict.reasons
    why = f"{verdict.code}: got {reasons[0].got}; wanted {reasons[0].wanted}" if reasons else verdict.code
    return OnboardingFailed(PROOF.name, machine.label, why, reasons[0].mend if reasons else "")


def _told(facts: HostFacts, verdict: Verdict) -> str:
    cards = verdict.cards
    memory, operations = sum(c.memory_bytes for c in cards), sum(c.operations_tera_s for c in cards)
    bandwidth = sum(c.bandwidth_gb_s for c in cards)
    return (
        f"{len(cards)} x {facts.cards[0].model} proved: {memory / 2**20:.1f} MiB, {operations:.4g} Tera-op/s, "
        f"{bandwidth:.3g} GB/s"
    )
