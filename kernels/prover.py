"""The prover: what the validator runs on a machine to see its cards (docs/gpu-proof.md).

`serve` holds one conversation: GO, then the rounds of the walk, the product, OPEN, END, in this order and no
other. All cards work at once, a thread each. Of a round it keeps the leaves only; what is opened is walked
again. Whatever happens, the cards are given back at the end.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import TypeVar

import numpy as np

from kernels import merkle, protocol
from kernels.blake2s import U32
from kernels.cards import Card, CardError, CardSource, NoCards, UnlimitedCards
from kernels.fill import fill
from kernels.lock import CardLocks, CardsBusy, Held, LockUnavailable, held_by
from kernels.messages import (
    BAD_REQUEST,
    FORM_UNAVAILABLE,
    LOCK_UNAVAILABLE,
    MAX_DETAIL_CHARS,
    PROVER_FAILED,
    Answer,
    Busy,
    CardSeed,
    End,
    Failed,
    Go,
    Multiplied,
    Multiply,
    Open,
    Opened,
    OpenedCard,
    OpenedSegment,
    OpenedTile,
    Ready,
    Request,
    Walk,
    Walked,
    encode,
    parse_request,
)
from kernels.multiply import multiply, tile_digests
from kernels.protocol import BadMessage, Parameters
from kernels.walk import rewalk, walk

ReadFrame = Callable[[], "bytes | None"]
"""The next frame, None when the other side has hung up; raises BadMessage for one that is too long."""
WriteFrame = Callable[[bytes], None]
"""Send one frame; raises OSError when the other side has hung up."""

Asked = TypeVar("Asked", Go, Walk, Multiply, Open)
Result = TypeVar("Result")


def serve(
    read_frame: ReadFrame,
    write_frame: WriteFrame,
    cards: CardSource | None = None,
    locks: CardLocks | None = None,
) -> None:
    """Hold one conversation and give everything back.

    `cards` are where the CPU form finds its cards; `locks` keep other provers off them meanwhile.
    """
    talk = _Talk(read_frame, write_frame)
    try:
        go = talk.expect(Go)
        with ExitStack() as cleanup:
            held = cleanup.enter_context(held_by(locks, [card.uuid for card in go.cards], go.statement))
            _converse(talk, go, cards or NoCards(), cleanup, held)
    except _Over:
        pass
    except BadMessage as error:
        talk.fail(BAD_REQUEST, None, str(error))
    except _CardFailed as error:
        talk.fail(error.code, error.card, error.detail)
    except CardsBusy as busy:
        talk.tell(Busy(busy.holder))
    except LockUnavailable as error:
        talk.fail(LOCK_UNAVAILABLE, None, str(error))
    except FormUnavailable as error:
        talk.fail(FORM_UNAVAILABLE, None, str(error))
    except Exception as error:  # noqa: BLE001  the top: what went wrong is told, not swallowed
        talk.fail(PROVER_FAILED, None, f"{type(error).__name__}: {error}")


def warm() -> None:
    """Compile and run everything once, on a practice seed and a card of one page and more."""
    parameters = Parameters(
        lines=512, chain_w=1, rounds=1, walkers=24, segments=2, segment_steps=1, rows=16, columns=16, tiles=1
    )
    practice = bytes(32)
    go = Go("cpu", parameters, protocol.commitment(practice), (CardSeed(0, "GPU-practice", practice),))
    script: list[Request] = [go, Walk(0, practice), Multiply(practice), Open(practice), End()]
    frames = [encode(request) for request in script]
    answers: list[bytes] = []
    serve(lambda: frames.pop(0) if frames else None, answers.append, UnlimitedCards())
    if len(answers) != len(script) - 1:
        raise RuntimeError(f"practice ended with {answers[-1].decode()}")


class FormUnavailable(Exception):
    """This machine can't run the form of the kernels that is asked for; the text says what is missing."""


class _Over(Exception):
    """The conversation is over: END, or the other side has hung up."""


class _CardFailed(Exception):
    """One card of GO can't be used."""

    def __init__(self, card: int, error: CardError) -> None:
        super().__init__(error.detail)
        self.code, self.card, self.detail = error.code, card, error.detail


class _Talk:
    """Requests and answers over frames."""

    def __init__(self, read_frame: ReadFrame, write_frame: WriteFrame) -> None:
        self._read, self._write = read_frame, write_frame

    def hear(self) -> Request:
        """The next request; raises BadMessage, or _Over at the end."""
        frame = self._read()
        if frame is None:
            raise _Over
        request = parse_request(frame)
        if isinstance(request, End):
            raise _Over
        return request

    def expect(self, kind: type[Asked]) -> Asked:
        """The next request, which must be of this kind."""
        request = self.hear()
        if not isinstance(request, kind):
            raise BadMessage(f"{type(request).__name__} out of order, expected {kind.__name__}")
        return request

    def say(self, answer: Answer) -> None:
        """Send an answer; raises _Over when nobody listens any more."""
        try:
            self._write(encode(answer))
        except OSError:
            raise _Over from None

    def fail(self, code: str, card: int | None, detail: str) -> None:
        """Say why the conversation ends."""
        self.tell(Failed(code, card, detail[:MAX_DETAIL_CHARS]))

    def tell(self, last: Answer) -> None:
        """Send the conversation's last answer, whether or not anybody listens."""
        with suppress(_Over):
            self.say(last)


def _converse(talk: _Talk, go: Go, source: CardSource, cleanup: ExitStack, held: Held) -> None:
    """From GO to END; what must be given back is put on `cleanup`, and `held` is told what V says of itself."""
    _check_form(go)
    p = go.parameters
    cards = [_CardWork(p, asked, _open_card(source, asked, cleanup)) for asked in go.cards]
    # After the cards, so that no thread works any more when they are given back.
    crew = cleanup.enter_context(ThreadPoolExecutor(min(len(cards), _cpu_count()), "card"))
    _each(crew, cards, _CardWork.fill)
    talk.say(Ready())
    for number in range(p.rounds):
        asked = talk.expect(Walk)
        if asked.round != number:
            raise BadMessage(f"round is {asked.round}, expected {number}")
        held.state(asked.statement)
        talk.say(Walked(number, _each(crew, cards, partial(_CardWork.walk, asked=asked))))
    talk.say(Multiplied(_each(crew, cards, partial(_CardWork.multiply, asked=talk.expect(Multiply)))))
    secret = talk.expect(Open).secret
    if protocol.commitment(secret) != go.commitment:
        raise BadMessage("secret is not the one that GO has promised")
    talk.say(Opened(_each(crew, cards, partial(_CardWork.open, secret=secret))))
    raise BadMessage(f"{type(talk.hear()).__name__} out of order, expected End")


def _check_form(go: Go) -> None:
    """Refuse a form that this machine can't run, and sizes that the CPU form can't carry."""
    if go.form != "cpu":
        raise FormUnavailable(
            f"this prover has no CUDA kernels yet (Python {platform.python_version()}): ask for the form 'cpu'"
        )
    go.parameters.check_cpu()


def _open_card(source: CardSource, asked: CardSeed, cleanup: ExitStack) -> Card:
    """One card of GO, given back with the rest."""
    try:
        card = source.open(asked.uuid)
    except CardError as error:
        raise _CardFailed(asked.index, error) from None
    cleanup.callback(card.close)
    return card


def _each(
    crew: ThreadPoolExecutor, cards: Sequence[_CardWork], work: Callable[[_CardWork], Result]
) -> tuple[Result, ...]:
    """Do the same work on all cards at once; all have stopped when this returns or raises."""
    running = [crew.submit(work, card) for card in cards]
    failures = [future.exception() for future in running]
    for failure in failures:
        if failure is not None:
            raise failure
    return tuple(future.result() for future in running)


def _cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


class _CardWork:
    """One card's part of the conversation."""

    def __init__(self, parameters: Parameters, asked: CardSeed, card: Card) -> None:
        self._parameters, self._asked, self._card = parameters, asked, card
        self._memory: U32 = np.empty((0, 32), dtype=np.uint32)
        self._nonces: list[U32] = []
        self._leaves: list[U32] = []
        self._roots: list[bytes] = []
        self._tiles: U32 = np.empty((0, 128), dtype=np.uint32)

    def fill(self) -> None:
        """Reserve the card's memory and fill D."""
        try:
            self._memory = self._card.allocate(self._parameters.lines)
        except CardError as error:
            raise _CardFailed(self._asked.index, error) from None
        p = self._parameters
        fill(_words(self._asked.seed), p.lines, p.chain_w, self._memory)

    def walk(self, asked: Walk) -> bytes:
        """Walk a round; the root of its leaves."""
        p = self._parameters
        nonce = _words(protocol.card_nonce(asked.nonce, self._asked.seed))
        leaves = walk(self._memory, nonce, asked.round, p.walkers, p.segments, p.segment_steps)
        self._nonces.append(nonce)
        self._leaves.append(leaves)
        return self._commit(merkle.WALKNODE, leaves)

    def multiply(self, asked: Multiply) -> bytes:
        """Multiply; the root of the product's tiles."""
        p = self._parameters
        nonce = protocol.card_nonce(asked.nonce, self._asked.seed)
        self._tiles = multiply(self._memory, nonce, p.rows, p.columns)
        return self._commit(merkle.TILENODE, tile_digests(self._tiles))

    def open(self, secret: bytes) -> OpenedCard:
        """Open the places that the secret and the roots decide."""
        p = self._parameters
        opened = protocol.open_digest(self._asked.seed, self._roots[:-1], self._roots[-1])
        drawn = [protocol.place(secret, opened, j) for j in range(p.rounds + p.tiles)]
        segments = [self._open_segment(r, drawn[r].index(p.leaves)) for r in range(p.rounds)]
        return OpenedCard(
            tuple(segments), self._open_tiles([place.index(p.tile_count) for place in drawn[p.rounds :]])
        )

    def _commit(self, use: int, leaves: U32) -> bytes:
        """The root of these leaves, remembered for OPEN."""
        self._roots.append(merkle.root(use, leaves))
        return self._roots[-1]

    def _open_segment(self, round_: int, leaf: int) -> OpenedSegment:
        """Walk the leaf's walker again; the states around its segment and their paths."""
        walker, segment = divmod(leaf, self._parameters.segments)
        steps = self._parameters.segment_steps
        before, after = rewalk(self._memory, self._nonces[round_], round_, walker, segment, steps)
        tree = merkle.levels(merkle.WALKNODE, self._leaves[round_])
        return OpenedSegment(
            before=None if before is None else before.tobytes(),
            before_path=None if before is None else merkle.path(merkle.WALKNODE, tree, leaf - 1),
            after=after.tobytes(),
            after_path=merkle.path(merkle.WALKNODE, tree, leaf),
        )

    def _open_tiles(self, indices: Sequence[int]) -> tuple[OpenedTile, ...]:
        """The tiles at these leaves and their paths."""
        tree = merkle.levels(merkle.TILENODE, tile_digests(self._tiles))
        return tuple(
            OpenedTile(self._tiles[index].tobytes(), merkle.path(merkle.TILENODE, tree, index))
            for index in indices
        )


def _words(octets: bytes) -> U32:
    """Bytes as little-endian words, uint32."""
    return np.frombuffer(octets, dtype="<u4").copy()
