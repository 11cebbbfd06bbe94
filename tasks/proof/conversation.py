"""One executor's conversation: GO to END over a session that already runs the prover.

Before the first nonce a machine that falls silent gives no verdict and may be tried again. From the first nonce on
silence, lateness and hanging up are failures: else a cheat would hang up when it sees what is to be opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from kernels.messages import (
    CARD_MEMORY_SHORT,
    Busy,
    End,
    Failed,
    Multiply,
    Open,
    OpenedCard,
    Request,
    Walk,
    encode,
)
from storage.records import Reason, Severity
from tasks.errors import BadAnswer, HostileAnswer, LeftBehind, SubnetError, TransportError
from tasks.policy import ProofPolicy
from tasks.proof import messages
from tasks.proof.busy import Notary, digest_of
from tasks.proof.challenge import Challenge, Draw, ProofKind
from tasks.proof.reasons import reason
from tasks.proof.wave import Clock, Gates

Answer = TypeVar("Answer")


class Session(Protocol):
    """Frames to and from one prover; deadlines are instants of the wave's clock."""

    def send(self, frame: bytes, /, *, deadline: float) -> None:
        """Send one frame; `TransportError` when it can't be sent by then."""
        ...

    def receive(self, /, *, deadline: float, limit_bytes: int) -> bytes:
        """The next frame; `TransportError` when none came by then, `LimitExceeded` when it is longer."""
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """A nonce and the roots that answered it; seconds are since GO."""

    nonce: bytes
    roots: tuple[bytes, ...]
    sent_s: float
    received_s: float

    @property
    def elapsed_s(self) -> float:
        """By V's clock, the way there and back included."""
        return self.received_s - self.sent_s


@dataclass(frozen=True, slots=True)
class Reply:
    """Everything that one executor answered, and when; seconds are since GO."""

    ready_s: float
    rounds: tuple[Exchange, ...]
    product: Exchange
    openings: tuple[OpenedCard, ...]
    opened_s: float
    bytes_received: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A conversation that did not come to its end."""

    reason: Reason
    phase: str
    """go, ready, walk 0, ..., multiply, open."""
    card: int | None
    """The card's index, where the prover named one."""
    bytes_received: int
    holder: str = ""
    """What a busy machine showed of the validator that holds its cards, as it came."""


def converse(  # noqa: PLR0917  what is talked to, about what, by which time, and chance
    session: Session,
    challenge: Challenge,
    wave: Gates,
    clock: Clock,
    policy: ProofPolicy,
    draw: Draw,
    notary: Notary | None = None,
) -> Reply | Failure:
    """Go through all gates of the wave with one executor; its seat in the wave is free afterwards.

    Without a notary nothing is said to other validators, and nothing of theirs is believed.
    """
    talk = _Talk(session, challenge, wave, clock, policy, draw, notary)
    with wave.seat(challenge.origin.executor_key):
        try:
            return talk.run()
        except _Stopped as stop:
            return Failure(stop.reason, talk.phase, stop.card, talk.bytes_received, stop.holder)


class _Stopped(Exception):
    """The conversation is over; never leaves this module."""

    def __init__(self, reason: Reason, card: int | None = None, holder: str = "") -> None:
        super().__init__(reason.code)
        self.reason, self.card, self.holder = reason, card, holder


@dataclass(slots=True)
class _Talk:
    session: Session
    challenge: Challenge
    wave: Gates
    clock: Clock
    policy: ProofPolicy
    draw: Draw
    notary: Notary | None
    phase: str = "go"
    is_bound: bool = False
    """Whether the first nonce is out: from here on everything that goes wrong is a failure."""
    bytes_received: int = 0
    go_at: float = field(default=0.0)
    go_digest: str = ""

    def run(self) -> Reply:
        cards, p = len(self.challenge.cards), self.challenge.parameters
        ready_s = self._go()
        rounds = tuple(self._round(r) for r in range(p.rounds))
        self.phase = "multiply"
        product = self._exchange(p.rounds + 1, Multiply, lambda frame: messages.read_multiplied(frame, cards))
        openings, opened_s = self._open()
        return Reply(ready_s, rounds, product, openings, opened_s, self.bytes_received)

    def _go(self) -> float:
        self.go_at = self._gate(0)
        limit = self.go_at + self.policy.fill_deadline_s
        self._send(replace(self.challenge.go, statement=self._statement()), limit)
        self.phase = "ready"
        answer, ready_at = self._receive(messages.read_ready, limit, messages.SMALL_FRAME_BYTES)
        if isinstance(answer, Busy):
            raise self._stopped_busy(answer)
        return self._since_go(ready_at)

    def _round(self, number: int) -> Exchange:
        cards = len(self.challenge.cards)
        self.phase = f"walk {number}"
        # Made before the gate, so that the nonces of a wave go out together; only the first gate is long in opening.
        early = self._statement() if number else ""
        return self._exchange(
            number + 1,
            lambda nonce: Walk(number, nonce, early or self._statement()),
            lambda frame: messages.read_walked(frame, number, cards),
        )

    def _exchange(
        self,
        gate: int,
        ask: Callable[[bytes], Request],
        read: Callable[[bytes], tuple[bytes, ...] | Failed],
    ) -> Exchange:
        self._gate(gate)
        self.is_bound = True
        limit = self.wave.deadline(gate + 1)
        # Drawn only now: nobody, not even another process of ours, knew it before.
        nonce = self.draw(32)
        sent_at = self._send(ask(nonce), limit)
        roots, received_at = self._receive(read, limit, messages.SMALL_FRAME_BYTES)
        return Exchange(nonce, roots, self._since_go(sent_at), self._since_go(received_at))

    def _open(self) -> tuple[tuple[OpenedCard, ...], float]:
        cards, p = len(self.challenge.cards), self.challenge.parameters
        self.phase = "open"
        # From its own turn, not from the gate: reading the others' openings keeps us busy for seconds.
        self._gate(p.rounds + 2)
        limit = self.clock.now() + self.policy.open_deadline_s
        self._send(Open(self.challenge.secret), limit)
        openings, opened_at = self._receive(
            lambda frame: messages.read_opened(frame, cards, p),
            limit,
            messages.opened_limit_bytes(cards),
        )
        self._end(limit)
        return openings, self._since_go(opened_at)

    def _end(self, limit: float) -> None:
        try:
            self.session.send(encode(End()), deadline=limit)
        except TransportError:
            return  # Everything is in; a prover that is gone has freed its cards.

    def _statement(self) -> str:
        if self.notary is None:
            return ""
        self.go_digest = self.go_digest or digest_of(self.challenge.go)
        return self.notary.statement(self.challenge.origin, self.go_digest)

    def _gate(self, gate: int) -> float:
        opened_at = self.wave.pass_gate(self.challenge.origin.executor_key, gate)
        if opened_at is None:
            raise self._stopped_late("the wave went on without it")
        return opened_at

    def _send(self, request: Request, limit: float) -> float:
        frame = encode(request)
        try:
            sent_at = self.clock.now()
            self.session.send(frame, deadline=limit)
        except SubnetError as error:
            raise self._stopped(error, limit) from error
        return sent_at

    def _receive(
        self, read: Callable[[bytes], Answer | Failed], limit: float, limit_bytes: int
    ) -> tuple[Answer, float]:
        try:
            frame = self.session.receive(deadline=limit, limit_bytes=limit_bytes)
            received_at = self.clock.now()
            self.bytes_received += len(frame)
            answer = read(frame)
        except SubnetError as error:
            raise self._stopped(error, limit) from error
        if isinstance(answer, Failed):
            raise self._stopped_by_prover(answer)
        if received_at > limit:
            raise self._stopped_late("an answer after its deadline")
        return answer, received_at

    def _stopped(self, error: SubnetError, limit: float) -> _Stopped:
        if isinstance(error, BadAnswer):
            return self._malformed(error)
        if isinstance(error, LeftBehind):
            return self._stopped_late(str(error))
        if self.clock.now() >= limit:
            return self._stopped_late("no answer by its deadline")
        if isinstance(error, HostileAnswer):
            return self._malformed(error)
        code, severity = (
            ("PROOF_ABANDONED", Severity.FAIL) if self.is_bound else ("PROVER_LOST", Severity.NO_VERDICT)
        )
        return self._stop(code, severity, f"connection lost: {error}", "an answer")

    def _malformed(self, error: SubnetError) -> _Stopped:
        return self._stop("PROOF_MALFORMED", Severity.FAIL, str(error), "one answer as the protocol has it")

    def _stopped_late(self, got: str) -> _Stopped:
        if self.is_bound:
            return self._stop("PROOF_TOO_LATE", Severity.FAIL, got, "every answer by its deadline")
        return self._stop("PROVER_NOT_READY", Severity.NO_VERDICT, got, "every card full by the deadline")

    def _stopped_by_prover(self, failure: Failed) -> _Stopped:
        got = failure.detail if failure.card is None else f"card {failure.card}: {failure.detail}"
        # The renter of a leased card may have filled it to the last byte.
        is_renters = failure.code == CARD_MEMORY_SHORT and self.challenge.kind is ProofKind.LEASED
        severity = Severity.NO_VERDICT if is_renters else Severity.FAIL
        return _Stopped(reason(failure.code, severity, got, "a prover that goes on to the end"), failure.card)

    def _stopped_busy(self, answer: Busy) -> _Stopped:
        if self.notary is None:
            return self._stop("BUSY_WITHOUT_HOLDER", Severity.FAIL, "busy", "idle cards")
        return _Stopped(self.notary.judge(self.challenge, answer.holder), holder=answer.holder)

    def _stop(self, code: str, severity: Severity, got: str, wanted: str) -> _Stopped:
        return _Stopped(reason(code, severity, f"{self.phase}: {got}"[: messages.MAX_DETAIL_CHARS], wanted))

    def _since_go(self, instant: float) -> float:
        # Whole microseconds: what the archive keeps is exactly what was judged.
        return round(instant - self.go_at, 6)
