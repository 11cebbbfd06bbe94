"""The cost model: what a prover does is counted, and what a real card would need for it is its time.

A cheat that gives the right answers too late is told by time alone. Its card here really does the work, a line at a
time, and counts it; a card's figures (from the validator's table of models) turn the counts into seconds of a
virtual clock. Everything of the card is divided by one scale, so that D is a few pages and each time is the real one.
The model is kind to the cheat: memory, integer units and links all work at once and at their vendor's figures, a
request takes no time on the way, and the credit for the way is given all the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from kernels.blake2s import U32, U64
from kernels.cards import UnlimitedCards
from kernels.fill import lines_at
from kernels.messages import (
    Go,
    Multiplied,
    Multiply,
    Open,
    Opened,
    Ready,
    Request,
    Walk,
    Walked,
    encode,
    parse_request,
)
from kernels.protocol import LINE_BYTES, PAGE_BYTES, PAGE_LINES, card_nonce, row_page
from storage.records import Verdict
from tasks.inspection.models import MODELS
from tasks.policy import DEFAULT
from tasks.proof.bounds import Bounds
from tasks.proof.challenge import Challenge, pages_for
from tasks.proof.conversation import Failure, Reply, converse
from tasks.proof.verdict import verify_shard
from tasks.proof.wave import Wave, gate_limits_s
from tests.cheats.rig import TinyModel, tiny_challenge, words
from tests.cheats.virtual import TimedSession, VirtualClock
from tests.cheats.walking import Walking

INSTRUCTIONS_A_COMPRESSION = 960
"""80 half quarter rounds, each of two additions of three numbers or of two, four xors and four rotations: 12."""
INSTRUCTIONS_A_STEP = 352
"""80 pairs of an addition, two rotations and a xor, and 32 xors of the line; multiplications have a pipe of their own."""

PCIE_4 = 32e9
PCIE_5 = 64e9
NVLINK_BRIDGE = 56.25e9
"""Of Ampere's GeForce, RTX and A40 cards."""
NVLINK_3 = 300e9
"""A100."""
NVLINK_4 = 450e9
"""H100, and GH200 to its host."""
NVLINK_5 = 900e9
"""B200. All links in bytes a second each way, by NVIDIA's datasheets, with nothing lost to their protocol."""

PAGES = 32
SCALED = replace(
    DEFAULT.proof,
    form="cpu",
    memory_share=1.0,
    reserve_bytes=0,
    walkers=64,
    fast_walkers=64,
    segment_steps=8,
    multiply_columns=32,
)
"""The policy of a real network, its rates and deadlines, for a D of a few pages."""


@dataclass(frozen=True)
class Hardware:
    """What a card, or several of them together, can do at once; everything a second, at the scale that it is seen at."""

    proved_bytes: float
    """|D| of its model under the default policy."""
    bandwidth_bytes_s: float
    instructions_s: float
    """Integer instructions of 32 bits."""
    link_bytes_s: float

    def at(self, scale: float) -> Hardware:
        """The same card made so much smaller, in all."""
        return Hardware(
            self.proved_bytes / scale,
            self.bandwidth_bytes_s / scale,
            self.instructions_s / scale,
            self.link_bytes_s / scale,
        )


def hardware(name: str, link_bytes_s: float = PCIE_5) -> Hardware:
    """A card of the table by its name, on a link."""
    model = next(m for m in MODELS if m.name == name)
    sku = model.skus[0]
    return Hardware(
        proved_bytes=pages_for(sku, DEFAULT.proof) * PAGE_BYTES,
        bandwidth_bytes_s=sku.bandwidth_gb_s * 1e9,
        # The table's figure counts eight int8 operations a lane and clock.
        instructions_s=model.int8_tera_ops * 1e12 / 8,
        link_bytes_s=link_bytes_s,
    )


@dataclass
class Work:
    """Counted work."""

    lines_read: int = 0
    """Whole lines of 128 bytes, from the card's own memory."""
    steps: int = 0
    compressions: int = 0
    link_bytes: int = 0

    def seconds(self, of: Hardware) -> float:
        """How long the hardware needs, all of its parts at once."""
        instructions = INSTRUCTIONS_A_COMPRESSION * self.compressions + INSTRUCTIONS_A_STEP * self.steps
        return max(
            LINE_BYTES * self.lines_read / of.bandwidth_bytes_s,
            instructions / of.instructions_s,
            self.link_bytes / of.link_bytes_s,
        )


class CountedCard(Walking):
    """An honest card that counts; a cheat has its lines from elsewhere."""

    def __init__(self, *of: object) -> None:
        super().__init__(*of)
        self.work = Work()
        """Of the stage that is under way; its parts go on at the same time."""
        self._stages: list[Work] = []

    def fill(self) -> None:
        super().fill()
        self.work.compressions += 4 * self._parameters.chain_w * self._parameters.lines

    def read(self, lines: U64) -> U32:
        self.work.steps += len(lines)
        return self.lines(lines)

    def lines(self, wanted: U64) -> U32:
        """Lines of D, uint32 [k, 32], however they come about: here, out of the card's memory."""
        self.work.lines_read += len(wanted)
        return self._memory[wanted]

    def regenerated(self, wanted: U64) -> U32:
        """Lines made from the seed, uint32 [k, 32]."""
        w = self._parameters.chain_w
        self.work.compressions += 4 * w * len(wanted)
        seeds = np.broadcast_to(words(self._asked.seed), (len(wanted), 8))
        return lines_at(seeds, np.ascontiguousarray(wanted), w)

    def multiply(self, asked: Multiply) -> bytes:
        """The product over its pages only, their lines from where the walk has them."""
        p, nonce = self._parameters, card_nonce(asked.nonce, self._asked.seed)
        pages = np.array([row_page(nonce, row, p.pages) for row in range(p.rows)], dtype=np.uint64)
        wanted = np.add.outer(pages * np.uint64(PAGE_LINES), np.arange(PAGE_LINES, dtype=np.uint64)).reshape(
            -1
        )
        needed = np.zeros((p.lines, 32), dtype=np.uint32)
        needed[wanted] = self.lines(wanted)
        held, self._memory = self._memory, needed
        try:
            return super().multiply(asked)
        finally:
            self._memory = held

    def next_stage(self) -> None:
        """What comes now can't begin before all until now is done."""
        self._stages.append(self.work)
        self.work = Work()

    def seconds(self, *of: Hardware) -> float:
        """How long the hardware needs for all since the last time; the slowest of several."""
        self.next_stage()
        stages, self._stages = self._stages, []
        return max(sum(stage.seconds(one) for stage in stages) for one in of)


class PartOfMemory(CountedCard):
    """Holds the first lines of D only, and makes all others from the seed each time that they are asked for."""

    kept_share = 0.5

    def fill(self) -> None:
        kept = int(self.kept_share * self._parameters.lines)
        self._memory = self.regenerated(np.arange(kept, dtype=np.uint64))

    def lines(self, wanted: U64) -> U32:
        is_kept = wanted < len(self._memory)
        found = np.empty((len(wanted), 32), dtype=np.uint32)
        found[is_kept] = super().lines(wanted[is_kept])
        found[~is_kept] = self.missing(wanted[~is_kept])
        return found

    def missing(self, wanted: U64) -> U32:
        """Lines that the card does not hold."""
        return self.regenerated(wanted)


def keeping(share: float, of: type[PartOfMemory]) -> type[PartOfMemory]:
    """The same card with another share of D kept."""
    return type(of.__name__, (of,), {"kept_share": share})


Cards = Sequence[CountedCard]
MakeCard = Callable[..., CountedCard]


class Machine:
    """A prover with cards of one kind; what each answer takes is the counted work of its slowest card."""

    def __init__(self, make: MakeCard, has: Hardware) -> None:
        self._make, self.has = make, has

    def serve(self, session: TimedSession) -> None:
        cards: Cards = ()
        while (frame := session.requests.get()) is not None:
            request = parse_request(frame)
            if isinstance(request, Go):
                cards = self.opened(request)
            answer = self.answer(request, cards)
            if answer is None:
                return
            session.answer(answer, self.seconds(request, cards))

    def opened(self, go: Go) -> Cards:
        source = UnlimitedCards()
        return [self._make(go.parameters, asked, source.open(asked.uuid)) for asked in go.cards]

    def answer(self, request: Request, cards: Cards) -> bytes | None:
        """The real answer to a request, None at the end."""
        if isinstance(request, Go):
            for card in cards:
                card.fill()
            return encode(Ready())
        if isinstance(request, Walk):
            return encode(Walked(request.round, tuple(card.walk(request) for card in cards)))
        if isinstance(request, Multiply):
            return encode(Multiplied(tuple(card.multiply(request) for card in cards)))
        if isinstance(request, Open):
            return encode(Opened(tuple(card.open(request.secret) for card in cards)))
        return None

    def seconds(self, request: Request, cards: Cards) -> float:  # noqa: ARG002  a cheat's may hang on it
        return max(card.seconds(self.has) for card in cards)


def scale_of(claim: Hardware) -> float:
    """How many times larger the claimed card is than its model of a few pages."""
    return claim.proved_bytes / (PAGES * PAGE_BYTES)


def challenge_of(claim: Hardware, seed: int = 0, cards: int = 1, executor_id: str = "machine") -> Challenge:
    """What V asks of a machine that claims such cards, at their scale, its bounds enforced."""
    gb_s = claim.at(scale_of(claim)).bandwidth_bytes_s / 1e9
    model = TinyModel(PAGES * PAGE_BYTES, gb_s)
    bounds = Bounds(gb_s * SCALED.min_bandwidth_share, gb_s * SCALED.max_bandwidth_share, is_enforced=True)
    return replace(tiny_challenge(seed, cards, SCALED, model=model, executor_id=executor_id), bounds=bounds)


Serve = Callable[[Sequence[TimedSession]], None]
"""A prover that serves all of these sessions."""


def judge_wave(wave: Sequence[tuple[Sequence[Challenge], Serve]], seed: int = 0) -> list[Verdict]:
    """One wave in virtual time: each prover with the machines that it serves; the verdicts in their order."""
    challenges = [challenge for asked, _ in wave for challenge in asked]
    clock = VirtualClock(len(challenges))
    sessions = [TimedSession(clock) for _ in challenges]
    gates = Wave([c.origin.executor_key for c in challenges], gate_limits_s(SCALED, 60.0), clock)

    def talk(at: int) -> Reply | Failure:
        draw = random.Random(seed + 1 + at).randbytes
        try:
            return converse(sessions[at], challenges[at], gates, clock, SCALED, draw)
        finally:
            sessions[at].requests.close()
            clock.leave()

    with ThreadPoolExecutor(len(challenges) + len(wave)) as pool:
        served, first = [], 0
        for asked, serve in wave:
            served.append(pool.submit(_serve, serve, sessions[first : first + len(asked)]))
            first += len(asked)
        replies = list(pool.map(talk, range(len(challenges))))
        for prover in served:
            prover.result()
    return verify_shard(list(zip(challenges, replies, strict=True)))


def _serve(serve: Serve, sessions: Sequence[TimedSession]) -> None:
    """Whatever becomes of the prover, nobody waits for it."""
    try:
        serve(sessions)
    finally:
        for session in sessions:
            session.hang_up()


def judge_timed(
    make: MakeCard,
    claim: Hardware,
    has: Hardware | None = None,
    *,
    cards: int = 1,
    seed: int = 0,
    machine: type[Machine] = Machine,
) -> Verdict:
    """One machine alone in its wave: it claims one card, and has another (without one: what it claims)."""
    prover = machine(make, (has or claim).at(scale_of(claim)))
    challenge = challenge_of(claim, seed, cards)
    return judge_wave([([challenge], lambda sessions: prover.serve(sessions[0]))], seed)[0]


def share_of(verdict: Verdict, claim: Hardware) -> float:
    """The proved bandwidth over that of the claimed card."""
    return verdict.cards[0].bandwidth_gb_s * 1e9 * scale_of(claim) / claim.bandwidth_bytes_s
