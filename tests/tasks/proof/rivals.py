"""Two validators and one machine: real keys, real locks, provers in threads or in processes of their own."""

from __future__ import annotations

import contextlib
import os
import random
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from bittensor import sp_core

from kernels import prover
from kernels.cards import FolderCards
from kernels.lock import CardLocks
from tasks.edges.signing import is_signed_by, sign_statement
from tasks.errors import HostAway, LimitExceeded
from tasks.proof.busy import Notary
from tasks.proof.challenge import Challenge, Origin, challenge_for
from tasks.proof.conversation import Failure, Reply, Session, converse
from tasks.proof.wave import MonotonicClock, Wave, gate_limits_s
from tests.cheats.rig import TINY, QueueSession, TinyModel

OURS = sp_core.Keypair.create_from_uri("//Ours")
THEIRS = sp_core.Keypair.create_from_uri("//Theirs")
MINER = sp_core.Keypair.create_from_uri("//Miner")
PERMITTED = frozenset({OURS.ss58_address, THEIRS.ss58_address})
CARD = "GPU-0"
CARD_BYTES = 32 * 4_096
"""Of a card that one fill just fits on."""
NOON_S = 1_790_000_000.0
POLICY = replace(
    TINY, fill_deadline_s=60.0, barrier_deadline_s=120.0, round_deadline_s=120.0, open_deadline_s=120.0
)
"""Patient: the holder waits in the middle while others start and end, however busy the machine is."""
REPOSITORY = Path(__file__).parents[3]


def origin(validator=OURS, **changed) -> Origin:
    known = Origin(
        netuid=51,
        block=1_000,
        block_hash="0x" + "ab" * 32,
        validator_hotkey=validator.ss58_address,
        miner_hotkey=MINER.ss58_address,
        executor_id="rack-1",
        attempt=1,
    )
    return replace(known, **changed)


def notary(key=OURS, *, now_s=NOON_S, permitted=PERMITTED) -> Notary:
    return Notary(partial(sign_statement, key), is_signed_by, frozenset(permitted), lambda: now_s)


def challenge(of: Origin, seed: int = 0) -> Challenge:
    return challenge_for(of, TinyModel(), [(0, CARD)], POLICY, random.Random(seed).randbytes)


class ProverProcess:
    """A session with a prover that is a process of its own, over pipes."""

    def __init__(self, cards: Path) -> None:
        kept = {key: os.environ[key] for key in ("NUMBA_CACHE_DIR", "PATH") if key in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kernels"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env={**kept, "SUBNET_SIMULATED_CARDS": str(cards), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def send(self, frame: bytes, *, deadline: float) -> None:  # noqa: ARG002  a pipe takes it at once
        try:
            self.process.stdin.write(len(frame).to_bytes(4, "big") + frame)
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise HostAway("prove", "gone") from error

    def receive(self, *, deadline: float, limit_bytes: int) -> bytes:
        size = int.from_bytes(self._read(4, deadline), "big")
        if size > limit_bytes:
            raise LimitExceeded("frame", f"{limit_bytes} bytes")
        return self._read(size, deadline)

    def _read(self, size: int, deadline: float) -> bytes:
        got = b""
        while len(got) < size:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), size - len(got)) if ready else b""
            if not piece:
                raise HostAway("prove", "no answer")
            got += piece
        return got

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@contextlib.contextmanager
def a_process(cards: Path) -> Iterator[ProverProcess]:
    session = ProverProcess(cards)
    try:
        yield session
    finally:
        session.process.kill()
        session.close()


@contextlib.contextmanager
def a_thread(cards: Path) -> Iterator[QueueSession]:
    """The same prover in a thread: locks are held by open files, so it is a stranger to others all the same."""
    session = QueueSession(MonotonicClock())

    def run() -> None:
        prover.serve(session.requests.get, session.answers.put, FolderCards(cards), CardLocks(cards))
        session.answers.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield session
    finally:
        session.requests.close()
        thread.join(30)


def proved(session: Session, asked: Challenge, by: Notary | None) -> Reply | Failure:
    """A conversation that is alone in its wave."""
    clock = MonotonicClock()
    wave = Wave([asked.origin.executor_key], gate_limits_s(POLICY, 30.0), clock)
    return converse(session, asked, wave, clock, POLICY, random.Random(1).randbytes, by)


class Holder:
    """A conversation that stands at a gate, its cards full, until it is let go."""

    def __init__(self, outcome: Future[Reply | Failure], wave: Wave) -> None:
        self.outcome, self._wave = outcome, wave

    def let_go(self) -> Reply | Failure:
        self._wave.leave("slow")
        return self.outcome.result(30)


@contextlib.contextmanager
def holding(session: Session, asked: Challenge, by: Notary | None, gate: int = 1) -> Iterator[Holder]:
    """Hold the machine's cards: another member of the wave keeps it waiting at this gate."""
    clock = MonotonicClock()
    wave = Wave([asked.origin.executor_key, "slow"], gate_limits_s(POLICY, 30.0), clock)
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(converse, session, asked, wave, clock, POLICY, random.Random(1).randbytes, by)
        try:
            for number in range(gate):
                assert wave.pass_gate("slow", number) is not None
            _until_it_waits(wave, asked.origin.executor_key)
            yield Holder(outcome, wave)
        finally:
            wave.leave("slow")


def _until_it_waits(wave: Wave, member: str) -> None:
    """At the gate: whatever it was asked before has been answered."""
    end = time.monotonic() + 30
    while member not in wave._arrived:
        assert time.monotonic() < end
        time.sleep(0.01)
