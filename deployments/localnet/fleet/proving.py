"""The proof as thousands of machines hold it in one process: the real cards and messages, without a thread for each.

    GO -> wait as long as real work would take, and fill -> READY -> walks -> product -> OPEN -> END

The order and the refusals are those of `kernels/prover.py`, whose conversation blocks a thread or two for as long as it
lasts. Small cards work in the loop itself, which costs less than to hand them to a thread; larger ones beside it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor as Pool
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TypeVar

from deployments.localnet.fleet.profiles import Fault, Profile
from kernels import protocol
from kernels.cards import UnlimitedCards
from kernels.cpu import CpuCard, CpuForm
from kernels.messages import (
    BAD_REQUEST,
    FORM_UNAVAILABLE,
    Answer,
    End,
    Failed,
    Go,
    Multiplied,
    Multiply,
    Open,
    Opened,
    OpenedCard,
    Ready,
    Request,
    Walk,
    Walked,
    encode,
    parse_request,
)
from kernels.protocol import BadMessage
from tasks.errors import BadAnswer

SMALL_LINES = 4_096
"""Of a card's memory, 128 bytes each: what such a card does takes a few milliseconds at most."""
DROPS_IN_ROUND = 1

ReadFrame = Callable[[], Awaitable["bytes | None"]]
WriteFrame = Callable[[bytes], Awaitable[None]]
Result = TypeVar("Result")
Asked = TypeVar("Asked", Go, Walk, Multiply, Open, End)


class HangsUp(Exception):
    """The machine ends its connection, which is what is wrong with it."""


class Bench:
    """Where cards work, and how much CPU that has taken."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._lock = pool, threading.Lock()
        self.used_s = 0.0

    async def do(self, work: Callable[[], Result], *, is_small: bool) -> Result:
        """Have it done, here or beside the loop."""
        if is_small:
            return self._timed(work)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._timed, work)

    def _timed(self, work: Callable[[], Result]) -> Result:
        began_s = time.thread_time()
        try:
            return work()
        finally:
            with self._lock:
                self.used_s += time.thread_time() - began_s


async def hold_proof(read: ReadFrame, write: WriteFrame, profile: Profile, bench: Bench) -> None:
    """Hold one conversation to its end, as the profile has it; raises HangsUp where the machine is to hang up."""
    talk = _Talk(read, write)
    with ExitStack() as cleanup:
        try:
            await _converse(talk, profile, bench, cleanup)
        except BadMessage as error:
            await talk.say(Failed(BAD_REQUEST, None, str(error)[:200]))


class _Talk:
    """Requests and answers over frames."""

    def __init__(self, read: ReadFrame, write: WriteFrame) -> None:
        self._read, self._write = read, write

    async def hear(self, kind: type[Asked]) -> Asked:
        """The next request, which must be of this kind; BadAnswer when nobody asks any more."""
        frame = await self._read()
        if frame is None:
            raise BadAnswer("the validator has gone")
        request: Request = parse_request(frame)
        if not isinstance(request, kind):
            raise BadMessage(f"{type(request).__name__} out of order, expected {kind.__name__}")
        return request

    async def say(self, answer: Answer) -> None:
        """Send an answer."""
        await self._write(encode(answer))


async def _converse(talk: _Talk, profile: Profile, bench: Bench, cleanup: ExitStack) -> None:
    go = await talk.hear(Go)
    if go.form != "cpu":
        await talk.say(Failed(FORM_UNAVAILABLE, None, f"simulated cards have no form {go.form}"))
        return
    crew = _Crew(go, bench, cleanup)
    if profile.fault is Fault.STALLS_PROOF:
        await talk.hear(Walk)  # which is asked of nobody who is not ready: it waits until the validator goes
    # Before the fill: of ten thousand who wait, none holds the memory that it will fill.
    await asyncio.sleep(profile.wait_s)
    await crew.all_do(lambda card: card.fill())
    await talk.say(Ready())
    for number in range(go.parameters.rounds):
        walk = await talk.hear(Walk)
        if walk.round != number:
            raise BadMessage(f"round is {walk.round}, expected {number}")
        if profile.fault is Fault.DROPS_PROOF and number == DROPS_IN_ROUND:
            raise HangsUp
        await talk.say(Walked(number, await crew.all_do(partial(CpuCard.walk, asked=walk))))
    product = await talk.hear(Multiply)
    await talk.say(Multiplied(await crew.all_do(lambda card: card.multiply(product))))
    secret = (await talk.hear(Open)).secret
    if protocol.commitment(secret) != go.commitment:
        raise BadMessage("secret is not the one that GO has promised")
    opened = await crew.all_do(lambda card: card.open(secret))
    await talk.say(Opened(tuple(map(_forged, opened)) if profile.fault is Fault.FORGES else opened))
    await talk.hear(End)


class _Crew:
    """The cards of one machine."""

    def __init__(self, go: Go, bench: Bench, cleanup: ExitStack) -> None:
        form = CpuForm(UnlimitedCards())
        form.check(go.parameters)
        self._cards = [form.open(go.parameters, asked) for asked in go.cards]
        for card in self._cards:
            cleanup.callback(card.close)
        self._bench, self._is_small = bench, go.parameters.lines <= SMALL_LINES

    async def all_do(self, work: Callable[[CpuCard], Result]) -> tuple[Result, ...]:
        """Have all cards do the same."""
        done = [await self._bench.do(partial(work, card), is_small=self._is_small) for card in self._cards]
        return tuple(done)


def _forged(card: OpenedCard) -> OpenedCard:
    """The same with another state at the end of the first round's segment."""
    first, *others = card.segments
    forged = replace(first, after=bytes(byte ^ 1 for byte in first.after))
    return OpenedCard((forged, *others), card.tiles)
