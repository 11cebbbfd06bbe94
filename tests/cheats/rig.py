"""A whole proof in one process: a prover of one's choice, the real conversation, the real verdict.

Two queues of frames take the place of SSH. A cheat is the real prover's card with a method changed, or a change to
the frames that it sends.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kernels import merkle, protocol, prover
from kernels.blake2s import U32
from kernels.cards import UnlimitedCards
from kernels.merkle import WALKNODE
from kernels.messages import (
    Go,
    Multiplied,
    Multiply,
    Open,
    Opened,
    OpenedSegment,
    Ready,
    Walk,
    Walked,
    encode,
    parse_request,
)
from kernels.walk import addresses, leaf_digests, start_digests, step_lanes
from storage.records import Verdict
from tasks.errors import HostAway, LimitExceeded
from tasks.policy import ProofPolicy
from tasks.proof.challenge import Challenge, Origin, ProofKind, challenge_for
from tasks.proof.conversation import Failure, Reply, converse
from tasks.proof.verdict import verify_shard
from tasks.proof.wave import Clock, MonotonicClock, Wave, gate_limits_s

HonestCard = prover._CardWork
"""What a cheat changes: fill, walk, multiply, open of one card."""

TINY = ProofPolicy(
    form="cpu",
    memory_share=1.0,
    reserve_bytes=0,
    chain_w=2,
    round_s=0.0,
    walkers=8,
    fast_walkers=8,
    segment_steps=8,
    multiply_columns=32,
    multiply_row_share=0.75,
    enforce_bandwidth=False,
)
"""32 pages make 16 segments a walker, 128 leaves a round and 2 tiles: enough that every place differs."""


@dataclass(frozen=True)
class TinyModel:
    memory_bytes: int = 32 * 4_096
    bandwidth_gb_s: float = 1.0


class Pipe:
    """Frames one way; its end can hang up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._frames: deque[bytes] = deque()
        self._is_open = True

    def put(self, frame: bytes) -> None:
        with self._changed:
            self._frames.append(frame)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_open = False
            self._changed.notify_all()

    def get(self) -> bytes | None:
        """The next frame, None after the last; the prover's side, which has no deadline."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or not self._is_open)
            return self._frames.popleft() if self._frames else None

    def get_until(self, deadline: float) -> bytes:
        with self._changed:
            while not self._frames:
                if not self._is_open:
                    raise HostAway("prove", "the connection was closed")
                if self._clock.now() >= deadline:
                    raise HostAway("prove", "no frame in time")
                self._clock.wait(self._changed, deadline)
            return self._frames.popleft()


class QueueSession:
    """A session over two pipes."""

    def __init__(self, clock: Clock) -> None:
        self.requests, self.answers = Pipe(clock), Pipe(clock)

    def send(self, frame: bytes, *, deadline: float) -> None:  # noqa: ARG002  a queue takes any frame at once
        self.requests.put(frame)

    def receive(self, *, deadline: float, limit_bytes: int) -> bytes:
        frame = self.answers.get_until(deadline)
        if len(frame) > limit_bytes:
            raise LimitExceeded("frame", f"{limit_bytes} bytes")
        return frame


class OwnStates(HonestCard):
    """A card that commits to the last states that it makes up itself: a cheat says how."""

    def __init__(self, *of: object) -> None:
        super().__init__(*of)
        self.states: list[U32] = []
        """A round's last states, uint32 [W, S, 32]."""

    def last_states(self, round_: int) -> U32:
        """The states to commit to, uint32 [W, S, 32]; the round's nonce is the last of `_nonces`."""
        raise NotImplementedError

    def walked_from(self, round_: int, walker: int, segment: int, before: U32) -> U32:
        """Walk one segment honestly from a state of one's choice, uint32 [32]."""
        p = self._parameters
        start = start_digests(
            self._nonces[round_][None],
            np.array([round_], dtype=np.uint32),
            np.array([walker], dtype=np.uint64),
            np.array([segment], dtype=np.uint64),
        )[0]
        return _walked(self._memory, before ^ start, p.segment_steps)

    def walk(self, asked: Walk) -> bytes:
        p = self._parameters
        self._nonces.append(words(protocol.card_nonce(asked.nonce, self._asked.seed)))
        self.states.append(self.last_states(asked.round))
        leaves = leaf_digests(
            self.states[-1].reshape(p.leaves, 32),
            np.full(p.leaves, asked.round, dtype=np.uint32),
            np.repeat(np.arange(p.walkers, dtype=np.uint64), p.segments),
            np.tile(np.arange(p.segments, dtype=np.uint64), p.walkers),
        )
        self._leaves.append(leaves)
        return self._commit(WALKNODE, leaves)

    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        states = self.states[round_].reshape(-1, 32)
        tree = merkle.levels(WALKNODE, self._leaves[round_])
        is_first = leaf % self._parameters.segments == 0
        return OpenedSegment(
            before=None if is_first else states[leaf - 1].tobytes(),
            before_path=None if is_first else merkle.path(WALKNODE, tree, leaf - 1),
            after=states[leaf].tobytes(),
            after_path=merkle.path(WALKNODE, tree, leaf),
        )


def words(octets: bytes) -> U32:
    """Bytes as words, writable."""
    return np.frombuffer(bytearray(octets), dtype=np.uint32)


def _walked(memory: U32, state: U32, steps: int) -> U32:
    states = state[None].copy()
    for _ in range(steps):
        line = addresses(states, np.array([len(memory)], dtype=np.uint64))
        step_lanes(states, memory[line])
    return states[0]


Serve = Callable[[QueueSession], None]
"""A prover: reads requests and writes answers until it has had enough."""


def honest(session: QueueSession) -> None:
    """The real prover, whole."""
    prover.serve(session.requests.get, session.answers.put, UnlimitedCards())


def with_card(card: type[HonestCard], others: type[HonestCard] = HonestCard) -> Serve:
    """The prover whose first card is this one; all others are honest."""

    def serve(session: QueueSession) -> None:
        go = parse_request(session.requests.get() or b"")
        assert isinstance(go, Go)
        source = UnlimitedCards()
        cards = [
            (others if at else card)(go.parameters, asked, source.open(asked.uuid))
            for at, asked in enumerate(go.cards)
        ]
        for one in cards:
            one.fill()
        session.answers.put(encode(Ready()))
        while (frame := session.requests.get()) is not None:
            request = parse_request(frame)
            if isinstance(request, Walk):
                session.answers.put(encode(Walked(request.round, tuple(c.walk(request) for c in cards))))
            elif isinstance(request, Multiply):
                session.answers.put(encode(Multiplied(tuple(c.multiply(request) for c in cards))))
            elif isinstance(request, Open):
                session.answers.put(encode(Opened(tuple(c.open(request.secret) for c in cards))))
            else:
                return

    return serve


def with_frames(change: Callable[[int, bytes], Sequence[bytes]]) -> Serve:
    """The real prover, whose n-th answer (0: ready, 1..4 the rounds, 5 the product, 6 opened) becomes these frames."""

    def serve(session: QueueSession) -> None:
        sent = 0

        def write(frame: bytes) -> None:
            nonlocal sent
            for changed in change(sent, frame):
                session.answers.put(changed)
            sent += 1

        prover.serve(session.requests.get, write, UnlimitedCards())

    return serve


def hanging_up_at(answer: int) -> Serve:
    """The real prover, gone instead of giving its n-th answer."""

    def serve(session: QueueSession) -> None:
        sent = 0

        def write(frame: bytes) -> None:
            nonlocal sent
            if sent == answer:
                raise BrokenPipeError
            session.answers.put(frame)
            sent += 1

        prover.serve(session.requests.get, write, UnlimitedCards())

    return serve


def tiny_challenge(  # noqa: PLR0917  what tests change, the most frequent first
    seed: int = 0,
    cards: int = 1,
    policy: ProofPolicy = TINY,
    pages: int = 32,
    model: TinyModel | None = None,
    executor_id: str = "machine",
    kind: ProofKind = ProofKind.FULL,
) -> Challenge:
    """A challenge of a few pages; the seed decides all that is random in it."""
    origin = Origin(51, 1_000, "0x" + "ab" * 32, "5Validator", "5Miner", executor_id, 1)
    model = model or TinyModel(memory_bytes=pages * 4_096)
    named = [(index, f"GPU-{index}") for index in range(cards)]
    return challenge_for(origin, model, named, policy, random.Random(seed).randbytes, kind=kind)


def talk(serve: Serve, challenge: Challenge, policy: ProofPolicy = TINY, seed: int = 0) -> Reply | Failure:
    """One conversation, alone in its wave."""
    clock = MonotonicClock()
    session = QueueSession(clock)
    wave = Wave([challenge.origin.executor_key], gate_limits_s(policy, 30.0), clock)

    def run() -> None:
        try:
            serve(session)
        finally:
            session.answers.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        return converse(session, challenge, wave, clock, policy, random.Random(seed + 1).randbytes)
    finally:
        session.requests.close()
        thread.join(30)


def judge(
    serve: Serve, seed: int = 0, cards: int = 1, policy: ProofPolicy = TINY, pages: int = 32
) -> Verdict:
    """One proof from GO to verdict."""
    challenge = tiny_challenge(seed, cards, policy, pages)
    return verify_shard([(challenge, talk(serve, challenge, policy, seed))])[0]
