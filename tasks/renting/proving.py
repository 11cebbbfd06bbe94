"""A proof of a lease's cards, by itself: at the hand-over, while the lease runs, and when the cards come back.

    seat (our own mark that we are at it) -> session -> prover -> conversation, alone in its wave -> verdict -> certificate

It is the proof of an epoch (docs/gpu-proof.md) for some cards of one machine. An epoch that meets our own proof on these
cards takes the machine's BUSY for what it is; here, an epoch or another validator at the cards is waited for.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter

from storage.claims import Claims
from storage.records import Card, Executor, Verdict
from storage.rental import Certificate, Rental
from tasks.edges.shell import Session
from tasks.errors import SubnetError
from tasks.inspection.models import Sku, find, sku
from tasks.inspection.talk import start_prover
from tasks.policy import Policy
from tasks.proof.archive import prover_archive
from tasks.proof.busy import BUSY, BUSY_OUR_OWN, Notary, own_proof
from tasks.proof.challenge import Challenge, Origin, ProofKind, challenge_for
from tasks.proof.conversation import Failure, Reply, converse
from tasks.proof.proving import ASSEMBLY_S, CACHE_FOLDER, WARM_UP_S, not_started
from tasks.proof.verdict import verify_shard
from tasks.proof.wave import MonotonicClock, Wave, gate_limits_s

AFTERGLOW_S = 10.0
"""Our mark outlives the proof by so much: an epoch may be reading the machine's answer just now."""
BUSY_PAUSE_S = 2.0
_VERDICT = TypeAdapter(Verdict)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose cards are proved, and in which surroundings."""

    executor: Executor
    cards: tuple[Card, ...]
    """As the last inspection found them: their order on the machine counts."""
    netuid: int
    block: int
    """The newest that is known."""
    block_hash: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a proof needs from outside."""

    open_session: Callable[[float], Session]
    """A session of its own with the runner started, by this instant of `time.monotonic()`: the prover takes its channel."""
    own_hotkey: str
    policy: Policy
    claims: Claims | None = None
    """Where our other processes see that we are at it; None: there are none."""
    holder: str = ""
    notary: Notary | None = None
    """None: nothing is said to validators that meet us at the cards, and nothing of theirs is believed."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    """By the same clock."""


def prove_cards(
    subject: Subject,
    around: Surroundings,
    kind: ProofKind,
    *,
    deadline: float,
    waiting: Session | None = None,
) -> Verdict:
    """The verdict over these cards, with its transcript; never raises for what the machine does.

    While they are held by an epoch of ours or by another validator it is tried again, until `deadline`, an instant of
    `time.monotonic()`. `waiting`: a prover of `start_waiting`, for the first try.
    """
    with _seat(subject.executor.key, around, deadline):
        while True:
            challenge = _challenge(subject, around, kind)  # fresh nonces every time
            (verdict,) = verify_shard([(challenge, _converse(subject, around, challenge, deadline, waiting))])
            if not is_busy(verdict) or around.clock() + BUSY_PAUSE_S > deadline:
                return verdict
            waiting = None
            around.sleep(BUSY_PAUSE_S)


def start_waiting(around: Surroundings, kind: ProofKind, *, deadline: float) -> Session:
    """A session of its own whose prover is imported and waits for GO, with no card touched; raises as the edges do."""
    session = around.open_session(deadline)
    try:
        warm_s = 0.0 if kind is ProofKind.LEASED else WARM_UP_S
        form, content = around.policy.proof.form, prover_archive().content
        start_prover(session, content, CACHE_FOLDER, form, warm_s, deadline=deadline)
    except BaseException:
        session.close()
        raise
    return session


def is_busy(verdict: Verdict) -> bool:
    """Whether the cards were somebody else's at the moment: that says nothing about the machine."""
    return any(why.code in (BUSY, BUSY_OUR_OWN) for why in verdict.reasons)


def certificate_of(rental: Rental, occasion: str, verdict: Verdict, at: datetime) -> Certificate:
    """What is kept of a proof of a lease's cards: anybody can judge it again."""
    return Certificate(
        lease_id=rental.lease_id,
        attempt=rental.attempt,
        occasion=occasion,
        at=at,
        executor_key=verdict.executor_key,
        code=verdict.code,
        card_uuids=tuple(card.card_uuid for card in verdict.cards),
        verdict=_VERDICT.dump_json(replace(verdict, transcript=b"")).decode(),
        transcript=verdict.transcript,
    )


@contextmanager
def _seat(executor_key: str, around: Surroundings, deadline: float) -> Iterator[None]:
    if around.claims is None:
        yield
        return
    subject, now = own_proof(executor_key), datetime.now(UTC)
    until = now + timedelta(seconds=max(0.0, deadline - time.monotonic()) + AFTERGLOW_S)
    around.claims.take(subject, around.holder, until, now)
    try:
        yield
    finally:
        around.claims.renew(subject, around.holder, datetime.now(UTC) + timedelta(seconds=AFTERGLOW_S))


def _challenge(subject: Subject, around: Surroundings, kind: ProofKind) -> Challenge:
    origin = Origin(
        netuid=subject.netuid,
        block=subject.block,
        block_hash=subject.block_hash,
        validator_hotkey=around.own_hotkey,
        miner_hotkey=subject.executor.miner_hotkey,
        executor_id=subject.executor.executor_id,
        attempt=subject.attempt,
    )
    cards = [(card.index, card.uuid) for card in subject.cards]
    size = _size_of(subject.cards[0], around.policy)
    return challenge_for(origin, size, cards, around.policy.proof, secrets.token_bytes, kind=kind)


def _size_of(card: Card, policy: Policy) -> Sku:
    model = find(card.model)
    size = sku(model, card.vram_mib, policy.inspection.vram_window) if model else None
    if size is None:
        raise AssertionError(f"no offer is made of an unknown model: {card.model}")
    return size


def _converse(
    subject: Subject, around: Surroundings, challenge: Challenge, deadline: float, waiting: Session | None
) -> Reply | Failure:
    """One conversation over a session of its own; a machine that does not come to GO gives no proof."""
    key, clock, policy = subject.executor.key, MonotonicClock(), around.policy.proof
    try:
        session = waiting or start_waiting(around, challenge.kind, deadline=deadline)
    except SubnetError as error:
        return Failure(not_started(error), "start", None, 0)
    try:
        wave = Wave([key], gate_limits_s(policy, ASSEMBLY_S), clock)
        return converse(session, challenge, wave, clock, policy, secrets.token_bytes, around.notary)
    finally:
        session.close()
