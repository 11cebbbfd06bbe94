"""The prover: what the validator runs on a machine to see its cards (docs/gpu-proof.md).

`serve` holds one conversation: GO, then the rounds of the walk, the product, OPEN, END, in this order and no
other. All cards work at once, a thread each. What a card does is its form's affair (kernels/forms.py). Whatever
happens, the cards are given back at the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, TypeVar

from kernels import protocol
from kernels.cards import CardError, CardSource, NoCards, UnlimitedCards
from kernels.cpu import CpuCard as _CardWork
from kernels.cpu import CpuForm
from kernels.forms import CardWork, Form, FormUnavailable
from kernels.lock import CardLocks, CardsBusy, Held, LockUnavailable, held_by
from kernels.messages import (
    BAD_REQUEST,
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
    Ready,
    Request,
    Walk,
    Walked,
    encode,
    parse_request,
)
from kernels.protocol import BadMessage, Parameters

if TYPE_CHECKING:
    from kernels.cuda.card import CudaForm
    from kernels.cuda.devices import Devices

__all__ = ["_CardWork", "prepare", "serve", "warm", "warm_cards"]

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
    devices: Devices | None = None,
) -> None:
    """Hold one conversation and give everything back.

    `cards` are where the CPU form finds its cards, `devices` where the CUDA form does: the driver's, unless given; `locks`
    keep other provers off them meanwhile.
    """
    talk = _Talk(read_frame, write_frame)
    try:
        go = talk.expect(Go)
        with ExitStack() as cleanup:
            form = _form(go, cards or NoCards(), devices)
            # Before a card is opened: nobody else's proof may lose memory to ours.
            held = cleanup.enter_context(held_by(locks, [card.uuid for card in go.cards], go.statement))
            _converse(talk, go, form, cleanup, held)
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
        talk.fail(error.code, None, str(error))
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


def warm_cards(devices: Devices | None = None) -> None:
    """Compile the CUDA form and practise on every card at hand; raises FormUnavailable, CardError and the driver's."""
    _cuda_form(devices).practise_all()


def prepare(form: str, limit_s: float) -> None:
    """Before GO: have the form's kernels compiled and loaded, for at most so long; 0: no card is touched before GO.

    What is not done by then goes on, and GO waits for it. What goes wrong comes up again after GO, where it has a code.
    """
    if form != "cuda" or limit_s <= 0:
        return

    def practise() -> None:
        with suppress(Exception):
            warm_cards()

    thread = threading.Thread(target=practise, name="practice", daemon=True)
    thread.start()
    thread.join(limit_s)


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


def _converse(talk: _Talk, go: Go, form: Form, cleanup: ExitStack, held: Held) -> None:
    """From GO to END; what must be given back is put on `cleanup`, and `held` is told what V says of itself."""
    p = go.parameters
    form.check(p)
    cards = [_open_card(form, p, asked, cleanup) for asked in go.cards]
    # After the cards, so that no thread works any more when they are given back.
    threads = min(len(cards), form.threads or len(cards))
    crew = _Crew(cards, cleanup.enter_context(ThreadPoolExecutor(threads, "card")))
    crew.all_do(lambda card: card.fill())
    talk.say(Ready())
    for number in range(p.rounds):
        walk = talk.expect(Walk)
        held.state(walk.statement)
        talk.say(Walked(number, _walk(crew, walk, number)))
    asked = talk.expect(Multiply)
    talk.say(Multiplied(crew.all_do(lambda card: card.multiply(asked))))
    secret = talk.expect(Open).secret
    if protocol.commitment(secret) != go.commitment:
        raise BadMessage("secret is not the one that GO has promised")
    talk.say(Opened(crew.all_do(lambda card: card.open(secret))))
    raise BadMessage(f"{type(talk.hear()).__name__} out of order, expected End")


def _walk(crew: _Crew, asked: Walk, number: int) -> tuple[bytes, ...]:
    """One round on all cards: its roots."""
    if asked.round != number:
        raise BadMessage(f"round is {asked.round}, expected {number}")
    return crew.all_do(lambda card: card.walk(asked))


def _form(go: Go, cards: CardSource, devices: Devices | None) -> Form:
    """The form that GO asks for; raises FormUnavailable."""
    return CpuForm(cards) if go.form == "cpu" else _cuda_form(devices)


def _cuda_form(devices: Devices | None) -> CudaForm:
    """The CUDA form over the driver's cards, unless others are given; raises FormUnavailable."""
    if devices is None:
        from kernels.cuda.devices import DriverDevices  # noqa: PLC0415  never where only the CPU form runs

        devices = DriverDevices.here()
    from kernels.cuda.card import CudaForm  # noqa: PLC0415  only now is it certain that it can be imported

    return CudaForm(devices)


def _open_card(form: Form, parameters: Parameters, asked: CardSeed, cleanup: ExitStack) -> CardWork:
    """One card of GO, given back with the rest."""
    try:
        card = form.open(parameters, asked)
    except CardError as error:
        raise _CardFailed(asked.index, error) from None
    cleanup.callback(card.close)
    return card


class _Crew:
    """The cards and their threads."""

    def __init__(self, cards: Sequence[CardWork], pool: ThreadPoolExecutor) -> None:
        self._cards, self._pool = cards, pool

    def all_do(self, work: Callable[[CardWork], Result]) -> tuple[Result, ...]:
        """Do the same work on all cards at once; all have stopped when this returns or raises."""
        running = [(card, self._pool.submit(work, card)) for card in self._cards]
        failures = [(card, future.exception()) for card, future in running]
        for card, failure in failures:
            if isinstance(failure, CardError):
                raise _CardFailed(card.index, failure) from None
            if failure is not None:
                raise failure
        return tuple(future.result() for _, future in running)
