from __future__ import annotations

import json
import random
import threading

from kernels import prover
from kernels.cards import UnlimitedCards
from kernels.messages import Open, parse_request
from storage.records import Severity
from tasks.proof.conversation import Failure, converse
from tasks.proof.verdict import verify_shard, verify_transcript
from tasks.proof.wave import Clock, MonotonicClock, Wave, gate_limits_s
from tests.cheats.rig import TINY, QueueSession, Serve, hanging_up_at, honest, talk, tiny_challenge


def _seeing_the_secret(seen: list[bytes]) -> Serve:
    """The real prover, gone once it has seen what is to be opened."""

    def serve(session: QueueSession) -> None:
        def read() -> bytes | None:
            frame = session.requests.get()
            if frame is not None and isinstance(request := parse_request(frame), Open):
                seen.append(request.secret)
                return None
            return frame

        prover.serve(read, session.answers.put, UnlimitedCards())

    return serve


class Overheard(QueueSession):
    """A session that remembers what kind of requests were sent."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.sent: list[str] = []

    def send(self, frame: bytes, *, deadline: float) -> None:
        self.sent.append(json.loads(frame)["type"])
        super().send(frame, deadline=deadline)


def _serve_and_close(serve: Serve, session: QueueSession) -> None:
    try:
        serve(session)
    finally:
        session.answers.close()


def test_seeing_what_is_opened_and_hanging_up_is_a_failure():
    """The secret comes to light at OPEN only, and whoever goes then has failed already."""
    challenge, seen = tiny_challenge(), []
    verdict = verify_shard([(challenge, talk(_seeing_the_secret(seen), challenge))])[0]
    assert seen == [challenge.secret]
    assert (verdict.code, verdict.severity) == ("PROOF_ABANDONED", Severity.FAIL)
    assert verify_transcript(verdict.transcript) == verdict


def test_nobody_comes_back_into_a_wave():
    """Whoever hangs up at OPEN and dials in again, even with an honest prover, finds the wave gone on: no second GO."""
    clock, challenge = MonotonicClock(), tiny_challenge()
    wave = Wave([challenge.origin.executor_key], gate_limits_s(TINY, 30.0), clock)
    codes, requests = [], []
    for serve in (hanging_up_at(6), honest):
        session = Overheard(clock)
        thread = threading.Thread(target=_serve_and_close, args=(serve, session))
        thread.start()
        outcome = converse(session, challenge, wave, clock, TINY, random.Random(1).randbytes)
        session.requests.close()
        thread.join(30)
        assert isinstance(outcome, Failure)
        codes.append(outcome.reason.code)
        requests.append(session.sent)
    assert codes == ["PROOF_ABANDONED", "PROVER_NOT_READY"]
    assert requests == [["go", "walk", "walk", "walk", "walk", "multiply", "open"], []]
