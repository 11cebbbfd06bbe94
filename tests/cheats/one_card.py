"""One real card behind several listed ones: whose turn it is has its D in the card's memory, and nobody else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.blake2s import U32
from kernels.messages import Go, Multiplied, Multiply, Request, Walk, Walked, encode, parse_request
from kernels.protocol import LINE_BYTES
from tests.cheats.cost import INSTRUCTIONS_A_COMPRESSION, CountedCard, Hardware, Machine
from tests.cheats.virtual import TimedSession

Nonce = Walk | Multiply
"""A request that needs all of D."""


class Guest(CountedCard):
    """A listed card that is not there."""

    def fill(self) -> None:
        super().fill()
        self._copy = self._memory
        self.next_stage()
        self.leave()

    def leave(self) -> None:
        """Another card's D takes the place of this one's."""
        self._memory: U32 = np.empty((0, 32), dtype=np.uint32)

    def come(self, has: Hardware) -> None:
        """Load D again: made anew, or copied from the host, whichever this hardware does sooner."""
        p = self._parameters
        compressions, copied_bytes = 4 * p.chain_w * p.lines, LINE_BYTES * p.lines
        if compressions * INSTRUCTIONS_A_COMPRESSION / has.instructions_s < copied_bytes / has.link_bytes_s:
            self.work.compressions += compressions
        else:
            self.work.link_bytes += copied_bytes
        self._memory = self._copy
        self.next_stage()


class OneCard:
    """The real card."""

    def __init__(self, has: Hardware) -> None:
        self.has = has
        self._guest: Guest | None = None

    def turns(self, asked: Sequence[tuple[Guest, Nonce]]) -> tuple[list[bytes], list[float]]:
        """All do what they are asked, who is loaded already first: the roots, and after how many seconds each."""
        roots, after_s, elapsed_s = [b""] * len(asked), [0.0] * len(asked), 0.0
        for at in sorted(range(len(asked)), key=lambda at: asked[at][0] is not self._guest):
            guest, request = asked[at]
            self._load(guest)
            roots[at] = guest.walk(request) if isinstance(request, Walk) else guest.multiply(request)
            elapsed_s += guest.seconds(self.has)
            after_s[at] = elapsed_s
        return roots, after_s

    def _load(self, guest: Guest) -> None:
        if guest is not self._guest:
            if self._guest is not None:
                self._guest.leave()
            guest.come(self.has)
            self._guest = guest


def answer_of(request: Nonce, roots: Sequence[bytes]) -> bytes:
    """The real answer to a nonce."""
    if isinstance(request, Walk):
        return encode(Walked(request.round, tuple(roots)))
    return encode(Multiplied(tuple(roots)))


class ManyListed(Machine):
    """A machine that lists many cards and has one."""

    def __init__(self, has: Hardware) -> None:
        super().__init__(Guest, has)
        self._card = OneCard(has)
        self._after_s = 0.0

    def answer(self, request: Request, cards: Sequence[Guest]) -> bytes | None:
        if isinstance(request, Walk | Multiply):
            roots, after_s = self._card.turns([(card, request) for card in cards])
            self._after_s = max(after_s)
            return answer_of(request, roots)
        answer = super().answer(request, cards)
        for card in cards:
            card.seconds(self.has)  # each is filled again when its turn comes: READY may as well be a lie
        self._after_s = 0.0
        return answer

    def seconds(self, request: Request, cards: Sequence[Guest]) -> float:  # noqa: ARG002  counted already
        return self._after_s


def serve_in_turn(has: Hardware, sessions: Sequence[TimedSession]) -> None:
    """Serve several listings of one card each with one real card, until the last of them is over."""
    card, machine = OneCard(has), Machine(Guest, has)
    guests: dict[int, Guest] = {}
    while asked := _requests(sessions):
        nonces = {at: request for at, request in asked.items() if isinstance(request, Walk | Multiply)}
        roots, after_s = card.turns([(guests[at], request) for at, request in nonces.items()])
        for (at, request), root, elapsed_s in zip(nonces.items(), roots, after_s, strict=True):
            sessions[at].answer(answer_of(request, [root]), elapsed_s)
        for at in asked.keys() - nonces:
            _answer_at_once(machine, sessions[at], asked[at], at, guests)


def _answer_at_once(
    machine: Machine, session: TimedSession, request: Request, at: int, guests: dict[int, Guest]
) -> None:
    """What needs no card to itself: filling before READY, and opening what has been kept."""
    if isinstance(request, Go):
        guests[at] = machine.opened(request)[0]
    answer = machine.answer(request, [guests[at]])
    if answer is not None:
        session.answer(answer, guests[at].seconds(machine.has))


def _requests(sessions: Sequence[TimedSession]) -> dict[int, Request]:
    """The next request of each listing that goes on; their wave sends them all at the same instant."""
    frames = {at: session.requests.get() for at, session in enumerate(sessions)}
    return {at: parse_request(frame) for at, frame in frames.items() if frame is not None}
