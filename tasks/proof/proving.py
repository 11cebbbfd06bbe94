"""One machine's part of a wave, from its session to its verdict, as a hand of the epoch does it.

session (the visit's, or a new one) -> prover -> conversation through the wave's gates -> verdicts of a shard together
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from storage.records import Executor, Reason, Severity, StepTime, Verdict
from tasks.edges.shell import EpochKey, Session, Shell, StopWatch
from tasks.errors import HostileAnswer, LeftBehind, RunnerRefused, SubnetError
from tasks.inspection.models import find, sku
from tasks.inspection.talk import start_prover, start_runner
from tasks.policy import Policy
from tasks.proof.archive import prover_archive
from tasks.proof.busy import Notary
from tasks.proof.challenge import Challenge, Draw, Origin, ProofKind, challenge_for
from tasks.proof.conversation import Failure, Reply, converse
from tasks.proof.population import Population
from tasks.proof.reasons import reason
from tasks.proof.verdict import verify_shard
from tasks.proof.wave import Gates, MonotonicClock
from tasks.shadow import verdict_in_shadow

_log = logging.getLogger("subnet.epoch")
CACHE_FOLDER = "~/.cache/subnet"
"""Where a machine keeps the prover and its compiled kernels: the only files that a proof leaves."""
ASSEMBLY_S = 60.0
"""For starting the provers of a wave: the first time, a machine compiles its kernels."""
WARM_UP_S = 40.0
"""Of it, for compiling and loading a card's kernels. A machine that needs longer goes on after GO, before READY."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What all machines of a wave have in common."""

    netuid: int
    own_hotkey: str
    block: int
    block_hash: str
    attempt: int
    notary: Notary


class Subject(Protocol):
    """Whose cards are proved, and how."""

    @property
    def executor(self) -> Executor:
        """The machine."""
        ...

    @property
    def cards(self) -> Sequence[tuple[int, str]]:
        """Index and UUID of each."""
        ...

    @property
    def model(self) -> str:
        """Of all of them, as nvidia-smi prints it."""
        ...

    @property
    def vram_mib(self) -> int:
        """Of the first."""
        ...

    @property
    def kind(self) -> ProofKind:
        """How much is proved."""
        ...

    @property
    def population(self) -> Population | None:
        """What the archive knows of the model."""
        ...


class Prover(Protocol):
    """What a proof needs of whoever conducts it."""

    @property
    def policy(self) -> Policy:
        """The epoch's."""
        ...

    @property
    def shell(self) -> Shell:
        """Opens sessions."""
        ...

    def key_for(self, executor: Executor) -> EpochKey:
        """How to log in."""
        ...

    def session_of(self, executor_key: str) -> Session | None:
        """The session that the visit has left open."""
        ...

    def keep(self, executor: Executor, session: Session) -> None:
        """Keep a new one until the shard is through."""
        ...

    def release(self, executor_keys: Sequence[str]) -> None:
        """Close them."""
        ...


@dataclass(frozen=True, slots=True)
class Talked:
    """A conversation, and how long it took to come to it."""

    challenge: Challenge
    reply: Reply | Failure
    steps: tuple[StepTime, ...]


def prove_machine(prover: Prover, occasion: Occasion, gates: Gates, subject: Subject, draw: Draw) -> Talked:
    """The machine's part of the wave; what goes wrong before GO takes it out of the wave too."""
    challenge, watch = _challenge(prover.policy, occasion, subject, draw), StopWatch()
    with gates.seat(subject.executor.key):
        try:
            reply = _converse(prover, occasion, gates, subject, challenge, watch, draw)
        except Exception as error:  # noqa: BLE001  a machine that finds a fault of ours costs only itself
            _log.exception("the proof of %s failed", subject.executor.key)
            why = reason("PROVER_LOST", Severity.NO_VERDICT, f"ours: {type(error).__name__}", "a proof")
            reply = Failure(why, "start", None, 0)
    return Talked(challenge, reply, watch.steps)


def _converse(  # noqa: PLR0917  who, when, through which gates, about what and by which chance
    prover: Prover,
    occasion: Occasion,
    gates: Gates,
    subject: Subject,
    challenge: Challenge,
    watch: StopWatch,
    draw: Draw,
) -> Reply | Failure:
    session: Session | None = None
    policy = prover.policy.proof
    try:
        deadline, content = gates.deadline(0), prover_archive().content
        session = _session(prover, subject.executor, deadline)
        # A renter's cards are not practised on.
        warm_s = 0.0 if challenge.kind is ProofKind.LEASED else WARM_UP_S
        start_prover(session, content, CACHE_FOLDER, policy.form, warm_s, deadline=deadline)
    except SubnetError as error:
        received = session.bytes_received if session else 0
        return Failure(not_started(error), "start", None, received)
    finally:
        watch.note("start")
    return converse(session, challenge, gates, MonotonicClock(), policy, draw, occasion.notary)


def _session(prover: Prover, executor: Executor, deadline: float) -> Session:
    """The one that inspection has left open, or a new one where it could not be kept so long."""
    session = prover.session_of(executor.key)
    if session is None:
        prover.release([executor.key])
        session = prover.shell.open(executor, prover.key_for(executor), deadline=deadline)
        prover.keep(executor, session)
        start_runner(session, deadline=deadline)
    return session


def _challenge(policy: Policy, occasion: Occasion, subject: Subject, draw: Draw) -> Challenge:
    model = find(subject.model)
    size = sku(model, subject.vram_mib, policy.inspection.vram_window) if model else None
    if model is None or size is None:
        raise AssertionError(f"{subject.executor.key}: inspection lets no unknown model through")
    origin = Origin(
        netuid=occasion.netuid,
        block=occasion.block,
        block_hash=occasion.block_hash,
        validator_hotkey=occasion.own_hotkey,
        miner_hotkey=subject.executor.miner_hotkey,
        executor_id=subject.executor.executor_id,
        attempt=occasion.attempt,
    )
    return challenge_for(
        origin,
        size,
        subject.cards,
        policy.proof,
        draw,
        kind=subject.kind,
        population=subject.population,
    )


def not_started(error: SubnetError) -> Reason:
    """What it means for a machine that its prover could not be started."""
    if isinstance(error, LeftBehind):
        return reason("PROVER_NOT_READY", Severity.NO_VERDICT, f"start: {error}", "a prover that starts")
    if isinstance(error, RunnerRefused):
        got = f"{error.code}: {error.detail}"[:200]
        return reason("PROVER_REFUSED", Severity.FAIL, got, "a Python that can run the prover")
    severity = Severity.FAIL if isinstance(error, HostileAnswer) else Severity.NO_VERDICT
    return reason("PROVER_LOST", severity, f"start: {error}"[:200], "a prover that starts")


def verdicts_of(talked: Sequence[Talked], policy: Policy) -> list[Verdict]:
    """The verdicts of a shard, judged together so that their arithmetic fills the lanes."""
    watch = StopWatch()
    judged = verify_shard([(talk.challenge, talk.reply) for talk in talked])
    watch.note("verify")
    (whole,) = watch.steps
    each = StepTime("verify", round(whole.seconds / max(1, len(talked)), 6))
    return [
        replace(verdict_in_shadow(verdict, policy.shadow), steps=(*talk.steps, *steps_of(talk.reply), each))
        for talk, verdict in zip(talked, judged, strict=True)
    ]


def steps_of(reply: Reply | Failure) -> tuple[StepTime, ...]:
    """What a conversation took, step by step: filling the cards, all rounds, the product, the openings."""
    if isinstance(reply, Failure):
        return ()
    walked_s = sum(exchange.elapsed_s for exchange in reply.rounds)
    opened_s = reply.opened_s - reply.product.received_s
    steps = {
        "ready": reply.ready_s,
        "walk": walked_s,
        "multiply": reply.product.elapsed_s,
        "answer": opened_s,
    }
    return tuple(StepTime(name, round(seconds, 6)) for name, seconds in steps.items())
