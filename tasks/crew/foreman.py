"""The foreman: gives the epoch's machines to its hands, opens the gates of their waves, and answers what they ask.

A machine stays with the hand that visited it, which holds its session. When a hand is lost, its visits go to the others,
but for the machine that it was busy with; its part of a wave is lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from storage.records import Executor, HostReport, Verdict
from tasks.crew import frames
from tasks.crew.gates import Count, Gate
from tasks.crew.orders import (
    NO,
    YES,
    Alive,
    Answer,
    Ask,
    AtGate,
    Begin,
    BeginWave,
    DoProofs,
    DoVisits,
    Hello,
    Keep,
    OpenGate,
    Order,
    Proved,
    Proving,
    Stepped,
    Told,
    Visit,
    Visited,
    decode,
    encode,
    encode_visits,
)
from tasks.crew.station import Suspect
from tasks.errors import SubnetError
from tasks.inspection.ours import our_fault

_log = logging.getLogger("subnet.epoch")
HELLO_S = 120.0
"""For a hand to start: it imports Numba, on cores that others want."""
SILENT_S = 30.0
"""A hand that says nothing for so long hangs: judging its largest shard takes a few seconds."""
LOOK_S = 1.0
ENDING_S = 0.1
MOST_LIVES = 3
"""How often a visit is given to another hand."""


class HandLost(SubnetError):
    """A hand is gone, by itself or because it had to be killed."""

    def __init__(self, why: str, suspect: int) -> None:
        super().__init__(f"a process of the epoch was lost: {why}")
        self.why, self.suspect = why, suspect


class Grip(Protocol):
    """How a hand is held on to: its process, or what stands for it."""

    @property
    def suspect(self) -> Suspect:
        """Whose greenlet it ran last."""
        ...

    def fault(self) -> str:
        """Why it should be killed; empty when nothing speaks against it."""
        ...

    def kill(self) -> None:
        """End it at once; twice is harmless."""
        ...


@dataclass(frozen=True, slots=True)
class Recruit:
    """A hand that was started: its stream, and how it is held on to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    grip: Grip


class Roster(Protocol):
    """Where hands come from."""

    async def hire(self, count: int) -> Sequence[Recruit]:
        """So many hands, started side by side."""
        ...

    async def dismiss(self) -> None:
        """What was started for all of them ends."""
        ...


class Office(Protocol):
    """What hands may ask."""

    def sign(self, lines: tuple[str, ...]) -> str:
        """A signed text in the validator's name."""
        ...

    def is_signed_by(self, text: str, hotkey: str) -> bool:
        """Whether this text is signed by this hotkey."""
        ...

    def is_ours_elsewhere(self, executor_key: str) -> bool:
        """Whether another process of ours proves this machine's cards."""
        ...


@dataclass
class _Hand:
    number: int
    recruit: Recruit
    heard_at: float
    load: int = 0
    """Machines that were given to it."""
    waiting: dict[int, asyncio.Future[tuple[Any, memoryview]]] = field(default_factory=dict)
    is_lost: bool = False
    late_s: float = 0.0


class Crew:
    """The hands of one epoch; used by one event loop."""

    def __init__(
        self,
        roster: Roster,
        begin: Begin,
        office: Office,
        on_step: Callable[[int], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        silent_s: float = SILENT_S,
    ) -> None:
        self._roster, self._begin, self._office, self._on_step = roster, begin, office, on_step
        self._clock, self._silent_s = clock, silent_s
        self._hands: dict[int, _Hand] = {}
        self._home: dict[str, int] = {}
        self._numbers = self._hired = self._wave_number = 0
        self._wave: _Wave | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self.lost: Counter[str] = Counter()
        """Why hands were lost."""

    @property
    def hands(self) -> int:
        """How many are at work."""
        return sum(not hand.is_lost for hand in self._hands.values())

    async def hire(self, count: int) -> None:
        """Have so many hands, or those that could be started; HandLost when there is none at all."""
        async with self._turn:
            missing = count - self.hands
            if missing > 0:
                for recruit in await self._roster.hire(missing):
                    await self._try_out(recruit)
            if count and not self.hands:
                raise HandLost("none could be started", 0)

    async def visit(self, visits: Sequence[Visit], left_s: float) -> tuple[HostReport, ...]:
        """Reports of all of them, in their order; never raises for what a machine or a hand does."""
        found: dict[str, HostReport] = {}
        waiting, until, why = list(visits), self._clock() + left_s, ""
        for _ in range(MOST_LIVES):
            if not waiting:
                break
            number = 0
            try:
                hand = await self._least_loaded()
                number = self._give(hand, [v.executor.key for v in waiting])
                order = DoVisits(number, max(0.0, until - self._clock()))
                _, body = await self._ask(hand, number, order, encode_visits(waiting))
            except HandLost as lost:
                why, at = lost.why, lost.suspect - (number << 16) - 1
                if 0 <= at < len(waiting):
                    guilty = waiting.pop(at).executor
                    found[guilty.key] = our_fault(guilty, why)
            else:
                found |= {r.executor_key: r for r in decode(tuple[HostReport, ...], body)}
                waiting = []
        found |= {v.executor.key: our_fault(v.executor, why) for v in waiting}
        return tuple(found[v.executor.key] for v in visits)

    def by_home(self, executors: Iterable[Executor]) -> list[tuple[Executor, ...]]:
        """The machines of each hand, new ones where the fewest are; their order is kept."""
        groups: dict[int, list[Executor]] = defaultdict(list)
        for executor in executors:
            home = self._home.get(executor.key)
            if home is None or self._hands[home].is_lost:
                home = min(self._alive(), key=lambda hand: hand.load).number
                self._give(self._hands[home], [executor.key])
            groups[home].append(executor)
        return [tuple(group) for group in groups.values()]

    async def begin_wave(
        self,
        members: Sequence[Executor],
        limits_s: tuple[float, ...],
        block: int,
        block_hash: str,
        attempt: int,
        *,
        hurried: frozenset[str] = frozenset(),
    ) -> int:
        """A wave of these machines; its gates are opened from now on."""
        self._wave_number += 1
        number, by_hand = self._wave_number, defaultdict[int, list[str]](list)
        for executor in members:
            by_hand[self._home[executor.key]].append(executor.key)
        standing = {hand: Count(0, len(keys), len(keys)) for hand, keys in by_hand.items()}
        now = self._clock()
        self._wave = _Wave(number, limits_s, Gate(0, now, now + limits_s[0], standing))
        for hand, keys in by_hand.items():
            strangers = tuple(key for key in keys if key in hurried)
            order = BeginWave(number, tuple(keys), limits_s, block, block_hash, attempt, strangers)
            await self._send(self._hands[hand], order)
        self._start(self._keep_gates(self._wave))
        return number

    async def prove(self, wave: int, provings: Sequence[Proving]) -> list[Verdict]:
        """Verdicts of machines of one hand, their transcripts in; none for those whose hand was lost."""
        hand = self._hands[self._home[provings[0].executor.key]]
        number = self._give(hand, ())
        try:
            head, body = await self._ask(
                hand, number, DoProofs(number, wave), encode(tuple[Proving, ...], tuple(provings))
            )
        except HandLost:
            return []
        return _verdicts(head, body)

    async def keep(self, keys: Iterable[str], *, is_rest_closed: bool) -> None:
        """Close the sessions of these machines, or of all others."""
        mine = defaultdict[int, list[str]](list)
        for key in keys:
            mine[self._home.get(key, -1)].append(key)
        for hand in self._alive():
            if is_rest_closed or mine[hand.number]:
                await self._send(hand, Keep(tuple(mine[hand.number]), is_rest_closed))

    async def close(self) -> None:
        """Let all hands go."""
        for job in self._jobs:
            job.cancel()
        for hand in self._hands.values():
            hand.is_lost = True
            hand.recruit.writer.close()
        await self._roster.dismiss()
        for hand in self._hands.values():
            hand.recruit.grip.kill()

    # --- hands -------------------------------------------------------------------------------------

    async def _try_out(self, recruit: Recruit) -> None:
        """Welcome it; one that does not come up costs only itself."""
        try:
            await self._welcome(recruit)
        except (HandLost, EOFError, ConnectionError, TimeoutError, ValueError) as error:
            why = recruit.grip.fault() or str(error) or type(error).__name__
            recruit.grip.kill()
            recruit.writer.close()
            self.lost[f"at its start: {why}"] += 1
            _log.error("a process of the epoch did not start: %s", why)

    async def _welcome(self, recruit: Recruit) -> None:
        self._hired += 1
        hand = _Hand(self._hired, recruit, self._clock())
        async with asyncio.timeout(HELLO_S):
            head, _ = await _receive(recruit.reader)
        if not isinstance(head, Hello):
            raise HandLost(f"it began with {type(head).__name__}", 0)
        hand.heard_at = self._clock()
        self._hands[hand.number] = hand
        await self._send(hand, self._begin)
        self._start(self._listen(hand))
        self._start(self._watch(hand))

    def _start(self, work: Any) -> None:
        job = asyncio.get_running_loop().create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def _alive(self) -> list[_Hand]:
        return [hand for hand in self._hands.values() if not hand.is_lost]

    async def _least_loaded(self) -> _Hand:
        if not self._alive():
            await self.hire(1)
        return min(self._alive(), key=lambda hand: hand.load)

    def _give(self, hand: _Hand, keys: Sequence[str]) -> int:
        hand.load += len(keys)
        self._home.update(dict.fromkeys(keys, hand.number))
        self._numbers += 1
        return self._numbers

    async def _ask(self, hand: _Hand, number: int, order: Any, body: bytes) -> tuple[Any, memoryview]:
        if hand.is_lost:
            raise HandLost("it was lost before", 0)
        answer: asyncio.Future[tuple[Any, memoryview]] = asyncio.get_running_loop().create_future()
        hand.waiting[number] = answer
        await self._send(hand, order, body)
        try:
            return await answer
        finally:
            hand.waiting.pop(number, None)

    async def _send(self, hand: _Hand, order: Any, body: bytes = b"") -> None:
        if hand.is_lost:
            return
        # Whoever has gone is noticed where it is listened to.
        with suppress(ConnectionError):
            hand.recruit.writer.write(frames.pack(encode(Order, order), body))
            await hand.recruit.writer.drain()

    async def _listen(self, hand: _Hand) -> None:
        why = "it ended"
        try:
            while True:
                head, body = await _receive(hand.recruit.reader)
                hand.heard_at = self._clock()
                await self._hear(hand, head, body)
        except (EOFError, ConnectionError):
            # The end of its connection comes before the system can tell how it ended.
            await asyncio.sleep(ENDING_S)
        except ValueError as error:
            why = f"it said what no hand says: {error}"
        finally:
            self._lose(hand, hand.recruit.grip.fault() or why)

    async def _hear(self, hand: _Hand, head: Any, body: memoryview) -> None:
        match head:
            case Alive():
                hand.late_s = head.late_s
            case Stepped():
                self._on_step(head.count)
            case Visited() | Proved():
                if (answer := hand.waiting.get(head.number)) is not None and not answer.done():
                    answer.set_result((head, body))
            case AtGate():
                if self._wave is not None and self._wave.number == head.wave:
                    self._wave.gate = self._wave.gate.told(hand.number, head, self._clock())
                    self._wave.changed.set()
            case Ask(what="sign"):
                await self._send(hand, Answer(head.number, self._office.sign(head.lines)))
            case Ask(what="signed"):
                is_so = self._office.is_signed_by(head.lines[0], head.lines[1])
                await self._send(hand, Answer(head.number, YES if is_so else NO))
            case Ask():
                self._start(self._answer_elsewhere(hand, head))

    async def _answer_elsewhere(self, hand: _Hand, asked: Ask) -> None:
        is_so = await asyncio.to_thread(self._office.is_ours_elsewhere, asked.lines[0])
        await self._send(hand, Answer(asked.number, YES if is_so else NO))

    async def _watch(self, hand: _Hand) -> None:
        while not hand.is_lost:
            await asyncio.sleep(LOOK_S)
            fault = hand.recruit.grip.fault()
            if not fault and self._clock() - hand.heard_at > self._silent_s:
                fault = f"it said nothing for {self._silent_s:.0f} s"
            if fault:
                self._lose(hand, fault)

    def _lose(self, hand: _Hand, why: str) -> None:
        if hand.is_lost:
            return
        hand.is_lost = True
        suspect = hand.recruit.grip.suspect.number
        hand.recruit.grip.kill()
        hand.recruit.writer.close()
        self.lost[why] += 1
        _log.error("a process of the epoch was lost: %s", why)
        if self._wave is not None:
            self._wave.gate = self._wave.gate.lost(hand.number, self._clock())
            self._wave.changed.set()
        for answer in hand.waiting.values():
            if not answer.done():
                answer.set_exception(HandLost(why, suspect))

    # --- waves -------------------------------------------------------------------------------------

    async def _keep_gates(self, wave: _Wave) -> None:
        while self._wave is wave and not wave.gate.is_over:
            now = self._clock()
            if wave.gate.is_due(now):
                gate, hands = wave.gate.number, list(wave.gate.standing)
                if gate + 1 >= len(wave.limits_s):
                    wave.gate = wave.gate.opened(now, 0.0)
                else:
                    wave.gate = wave.gate.opened(now, wave.limits_s[gate + 1])
                for hand in hands:
                    await self._send(self._hands[hand], OpenGate(wave.number, gate))
                continue
            left_s = wave.gate.opens_at - now
            wave.changed.clear()
            with suppress(TimeoutError):
                # Past its time it opens for the first who comes.
                async with asyncio.timeout(left_s if left_s > 0 else None):
                    await wave.changed.wait()


@dataclass
class _Wave:
    number: int
    limits_s: tuple[float, ...]
    gate: Gate
    changed: asyncio.Event = field(default_factory=asyncio.Event)


async def _receive(reader: asyncio.StreamReader) -> tuple[Any, memoryview]:
    """The next frame; EOFError at the end."""
    head_bytes, body_bytes = frames.sizes(await reader.readexactly(frames.HEADER_BYTES))
    content = memoryview(await reader.readexactly(head_bytes + body_bytes))
    return decode(Told, content[:head_bytes]), content[head_bytes:]


def _verdicts(head: Proved, body: memoryview) -> list[Verdict]:
    verdicts: tuple[Verdict, ...] = decode(tuple[Verdict, ...], body[: head.verdicts_bytes])
    at, found = head.verdicts_bytes, []
    for verdict, size in zip(verdicts, head.transcript_bytes, strict=True):
        found.append(replace(verdict, transcript=bytes(body[at : at + size])))
        at += size
    return found
