from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from kernels.messages import Failed, encode
from storage.records import Severity
from tasks.errors import LeftBehind
from tasks.proof.challenge import ProofKind
from tasks.proof.conversation import Failure, Reply, converse
from tasks.proof.verdict import verify_shard
from tasks.proof.wave import Clock, Wave, gate_limits_s
from tests.cheats.rig import TINY, QueueSession, honest, talk, tiny_challenge, with_frames
from tests.tasks.proof.clocks import HandClock

POLICY = replace(
    TINY, fill_deadline_s=60.0, barrier_deadline_s=90.0, round_deadline_s=10.0, open_deadline_s=30.0
)


def _alone(session: QueueSession, clock: Clock) -> Reply | Failure:
    """A conversation with the prover of the session, alone in its wave."""
    challenge = tiny_challenge()
    wave = Wave([challenge.origin.executor_key], gate_limits_s(POLICY, 30.0), clock)
    outcome = converse(session, challenge, wave, clock, POLICY, random.Random(1).randbytes)
    assert not wave.members
    return outcome


@pytest.mark.parametrize(
    ("answers", "deadline_s", "code", "severity", "phase"),
    [
        (0, 60.0, "PROVER_NOT_READY", Severity.NO_VERDICT, "ready"),
        (1, 10.0, "PROOF_TOO_LATE", Severity.FAIL, "walk 0"),
        (4, 10.0, "PROOF_TOO_LATE", Severity.FAIL, "walk 3"),
        (5, 10.0, "PROOF_TOO_LATE", Severity.FAIL, "multiply"),
        (6, 30.0, "PROOF_TOO_LATE", Severity.FAIL, "open"),
    ],
)
def test_silence_ends_at_each_deadline(answers, deadline_s, code, severity, phase):
    """Before the first nonce silence is no verdict, from then on it is a failure; each phase has its deadline."""
    clock = HandClock()
    session = QueueSession(clock)
    is_silent = threading.Event()

    def change(n: int, frame: bytes) -> list[bytes]:
        if n < answers:
            return [frame]
        is_silent.set()
        return []

    with ThreadPoolExecutor(2) as pool:
        pool.submit(with_frames(change), session)
        told = pool.submit(_alone, session, clock)
        assert is_silent.wait(30)
        clock.move(deadline_s / 2)
        clock.until_waiting(1)
        assert not told.done()
        clock.move(deadline_s / 2)
        outcome = told.result(30)
        session.requests.close()
    assert isinstance(outcome, Failure)
    assert (outcome.reason.code, outcome.reason.severity, outcome.phase) == (code, severity, phase)


class SlowSession(QueueSession):
    """A session whose n-th answer takes so many seconds."""

    def __init__(self, clock: HandClock, takes_s: tuple[float, ...]) -> None:
        super().__init__(clock)
        self.clock, self.takes_s = clock, list(takes_s)

    def receive(self, *, deadline: float, limit_bytes: int) -> bytes:
        frame = super().receive(deadline=deadline, limit_bytes=limit_bytes)
        self.clock.move(self.takes_s.pop(0))
        return frame


def _slow(takes_s: tuple[float, ...]) -> Reply | Failure:
    clock = HandClock()
    session = SlowSession(clock, takes_s)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(honest, session)
        try:
            return _alone(session, clock)
        finally:
            session.requests.close()


def test_an_answer_after_its_deadline_is_too_late():
    """A good answer that comes a moment after the deadline counts as none."""
    outcome = _slow((50.0, 2.0, 10.001))
    assert isinstance(outcome, Failure)
    assert (outcome.reason.code, outcome.phase) == ("PROOF_TOO_LATE", "walk 1")


def test_times_are_the_validators():
    """Each exchange has V's instants, since GO; the credit for the way is 50 ms, or half of a quicker answer."""
    outcome = _slow((50.0, 2.0, 3.0, 1.0, 0.05, 4.0, 5.0))
    assert isinstance(outcome, Reply)
    assert (outcome.ready_s, outcome.opened_s) == (50.0, 65.05)
    assert [(e.sent_s, e.received_s) for e in outcome.rounds] == [(50, 52), (52, 55), (55, 56), (56, 56.05)]
    verdict = verify_shard([(tiny_challenge(), outcome)])[0]
    card = verdict.cards[0]
    assert card.walk_s == pytest.approx(1.95 + 2.95 + 0.95 + 0.025)
    assert card.multiply_s == pytest.approx(3.95)
    assert card.bandwidth_gb_s == pytest.approx(4 * 128 * 8 * 128 / card.walk_s / 1e9)
    assert card.operations_tera_s == pytest.approx(2 * 4_096 * 16 * 32 / 3.95 / 1e12)


def test_nonces_are_drawn_after_their_gate():
    """While another member keeps the wave waiting, the next nonce does not exist."""
    clock, challenge = HandClock(), tiny_challenge()
    session = QueueSession(clock)
    key = challenge.origin.executor_key
    wave = Wave([key, "other"], gate_limits_s(POLICY, 30.0), clock)
    drawn: list[bytes] = []

    def draw(size: int) -> bytes:
        drawn.append(random.Random(len(drawn)).randbytes(size))
        return drawn[-1]

    with ThreadPoolExecutor(2) as pool:
        pool.submit(honest, session)
        told = pool.submit(converse, session, challenge, wave, clock, POLICY, draw)
        assert wave.pass_gate("other", 0) == 0.0
        assert drawn == []
        assert wave.pass_gate("other", 1) == 0.0
        assert wave.pass_gate("other", 2) == 0.0
        assert len(drawn) in {1, 2}
        wave.leave("other")
        outcome = told.result(30)
        session.requests.close()
    assert isinstance(outcome, Reply)
    assert [e.nonce for e in (*outcome.rounds, outcome.product)] == drawn
    assert len(set(drawn)) == 5


@pytest.mark.parametrize(
    "failed",
    [
        Failed("CARD_MEMORY_SHORT", 0, "GPU-0 has 7 bytes free"),
        Failed("CARD_NOT_FOUND", 0, "GPU-0 is no card of this machine"),
        Failed("FORM_UNAVAILABLE", None, "no driver"),
        Failed("PROVER_FAILED", None, "MemoryError"),
        Failed("BAD_REQUEST", None, "lines is 7"),
    ],
    ids=lambda failed: failed.code,
)
def test_the_provers_own_failures_keep_their_code(failed):
    """What the prover says about itself becomes the machine's reason, with the card that it names."""
    challenge = tiny_challenge(cards=2)
    outcome = talk(with_frames(lambda *_: [encode(failed)]), challenge)
    assert isinstance(outcome, Failure)
    assert (outcome.reason.code, outcome.reason.severity, outcome.card) == (
        failed.code,
        Severity.FAIL,
        failed.card,
    )
    assert outcome.reason.got == failed.detail if failed.card is None else f"card 0: {failed.detail}"
    codes = [card.code for card in verify_shard([(challenge, outcome)])[0].cards]
    assert codes == ([failed.code] * 2 if failed.card is None else [failed.code, "NOT_TRIED"])


@pytest.mark.parametrize(
    ("code", "severity"), [("CARD_MEMORY_SHORT", Severity.NO_VERDICT), ("CARD_NOT_FOUND", Severity.FAIL)]
)
def test_a_leased_card_that_is_full_is_no_failure(code, severity):
    """What a renter holds of the memory is not the miner's fault; a card that is gone is."""
    challenge = replace(tiny_challenge(), kind=ProofKind.LEASED)
    outcome = talk(with_frames(lambda *_: [encode(Failed(code, 0, "as it is"))]), challenge)

    assert isinstance(outcome, Failure)
    assert (outcome.reason.code, outcome.reason.severity) == (code, severity)


def test_a_late_member_is_told_so():
    """Whoever comes to GO when the wave has begun is not failed: it may be tried again."""
    clock, challenge = HandClock(), tiny_challenge()
    wave = Wave(["other", challenge.origin.executor_key], gate_limits_s(POLICY, 30.0), clock)
    clock.move(30.0)
    assert wave.pass_gate("other", 0) == 30.0
    outcome = converse(QueueSession(clock), challenge, wave, clock, POLICY, bytes)
    assert isinstance(outcome, Failure)
    assert (outcome.reason.code, outcome.reason.severity) == ("PROVER_NOT_READY", Severity.NO_VERDICT)


class LeftSession(QueueSession):
    """A session whose machine the wave has gone on without while it was still at work."""

    def receive(self, *, deadline: float, limit_bytes: int) -> bytes:  # noqa: ARG002  it never comes to an answer
        raise LeftBehind


def test_a_machine_that_the_wave_left_behind_is_told_so():
    """It was not ready when all others were: no verdict, and the advice is about its cards, not about its connection."""
    outcome = _alone(LeftSession(clock := HandClock()), clock)

    assert isinstance(outcome, Failure)
    assert (outcome.reason.code, outcome.reason.severity) == ("PROVER_NOT_READY", Severity.NO_VERDICT)
    assert "not ready when all others were" in outcome.reason.got


def test_thirty_machines_share_a_wave_and_a_verdict():
    """Conversations of thirty machines, every fifth gone at some answer, end with the verdict of each its own."""
    clock = HandClock()
    keys = [f"executor-{i}" for i in range(30)]
    challenges = []
    for i, key in enumerate(keys):
        challenge = tiny_challenge(seed=i)
        challenges.append(replace(challenge, origin=replace(challenge.origin, executor_id=key)))
    wave = Wave([c.origin.executor_key for c in challenges], gate_limits_s(POLICY, 30.0), clock)

    def run(i: int) -> Reply | Failure:
        session = QueueSession(clock)

        def change(n: int, frame: bytes) -> list[bytes]:
            if i % 5 == 4 and n == i // 5:
                session.answers.close()
                return []
            return [frame]

        thread = threading.Thread(target=with_frames(change), args=(session,))
        thread.start()
        try:
            return converse(session, challenges[i], wave, clock, POLICY, random.Random(i).randbytes)
        finally:
            session.requests.close()
            thread.join(30)

    with ThreadPoolExecutor(30) as pool:
        told = list(pool.map(run, range(30)))
    verdicts = verify_shard(list(zip(challenges, told, strict=True)))
    assert [v.executor_key for v in verdicts] == [c.origin.executor_key for c in challenges]
    gone = {4: "PROVER_LOST"} | dict.fromkeys(range(9, 30, 5), "PROOF_ABANDONED")
    assert [v.code for v in verdicts] == [gone.get(i, "PROVED") for i in range(30)]
