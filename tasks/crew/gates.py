"""A wave whose members are in several processes: each hand counts its own, the foreman opens the gates.

hand: 37 of 50 at gate 2 -> ... -> 50 of 50 --.
hand: 50 of 50 -----------------------------  foreman: open gate 2, to all of them at once

Until the first nonce is out it does not wait for strangers (`tasks/strangers.py`): once all others are there, they have a
twentieth more of the time that those took. Later gates are a few seconds apart, and wait for everybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from gevent.event import Event

from tasks.crew.orders import AtGate

HURRIED_GATES = frozenset({0, 1})
"""Before GO, and before the first nonce: who is not there then has no verdict, and has lost nothing."""
GRACE_SHARE, LEAST_GRACE_S = 0.05, 1.0
LATE_S = 30.0
"""After a gate's time a hand waits so much longer for the foreman to open it, and gives the wave up then."""


class HandWave:
    """A hand's part of a wave, with the face of `tasks.proof.wave.Wave`; one thread's greenlets use it."""

    def __init__(
        self,
        wave: int,
        members: Iterable[str],
        limits_s: Sequence[float],
        tell: Callable[[AtGate], object],
        clock: Callable[[], float] = time.monotonic,
        *,
        hurried: Iterable[str] = (),
    ) -> None:
        self._wave, self._limits_s, self._tell, self._clock = wave, tuple(limits_s), tell, clock
        self._members, self._arrived = set(members), set[str]()
        self._hurried = frozenset(hurried)
        self._awaited = self._members - self._hurried
        """Who is waited for and is not there yet."""
        self._opened = [clock()]
        self._turn: Any = Event()

    def pass_gate(self, member: str, gate: int) -> float | None:
        """Wait until the gate opens and tell the instant; None when it opened without this member."""
        if member not in self._members or gate != self._next_gate:
            return None
        self._arrived.add(member)
        was_last = self._is_last(member)
        if was_last or len(self._arrived) in {1, len(self._members)}:
            self._say()
        if not self._turn.wait(max(0.0, self.deadline(gate) - self._clock()) + LATE_S):
            self.leave(member)
            return None
        return self._opened[gate + 1] if member in self._members else None

    def leave(self, member: str) -> None:
        """Go out of the wave, if still in it; nobody waits for this member any more."""
        if member in self._members:
            self._members.discard(member)
            self._arrived.discard(member)
            was_last = self._is_last(member)
            if was_last or len(self._arrived) == len(self._members):
                self._say()

    def _is_last(self, member: str) -> bool:
        """Whether nobody is waited for any more, now that this member is there, or gone."""
        was_awaited = member in self._awaited
        self._awaited.discard(member)
        return was_awaited and not self._awaited

    @contextmanager
    def seat(self, member: str) -> Iterator[None]:
        """Leave the wave at the end of the block, however it ends."""
        try:
            yield
        finally:
            self.leave(member)

    def deadline(self, gate: int) -> float:
        """When this gate opens at the latest; known once the gate before it has opened."""
        return self._opened[gate] + self._limits_s[gate]

    def open(self, gate: int) -> frozenset[str]:
        """The foreman's word; gives those who need not go on: later ones have their answers' deadlines, and fail by them."""
        if gate != self._next_gate:
            return frozenset()
        self._opened.append(self._clock())
        left_behind = frozenset(self._members - self._arrived) if gate in HURRIED_GATES else frozenset()
        self._members, self._arrived = self._arrived, set()
        self._awaited = self._members - self._hurried
        turn, self._turn = self._turn, Event()
        turn.set()
        # The foreman knows what it had heard when it opened: who came in that instant is told now.
        self._say()
        return left_behind

    @property
    def _next_gate(self) -> int:
        return len(self._opened) - 1

    def _say(self) -> None:
        counts = len(self._arrived), len(self._members), len(self._awaited)
        self._tell(AtGate(self._wave, self._next_gate, *counts))


@dataclass(frozen=True, slots=True)
class Count:
    """Of a hand's members."""

    arrived: int
    members: int
    """All that are left."""
    awaited: int
    """Of those who are not there yet, how many are waited for."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What the foreman knows of the gate that opens next."""

    number: int
    began_at: float
    opens_at: float
    """At the latest."""
    standing: Mapping[int, Count]
    """Of each hand."""

    def told(self, hand: int, standing: AtGate, now: float) -> Gate:
        """With a hand's count; one of another gate was on its way when this one came."""
        if standing.gate != self.number or hand not in self.standing:
            return self
        count = Count(standing.arrived, standing.members, standing.awaited)
        return self._with({**self.standing, hand: count}, now)

    def lost(self, hand: int, now: float) -> Gate:
        """Without a hand that is gone, its members with it."""
        return self._with({h: count for h, count in self.standing.items() if h != hand}, now)

    def _with(self, standing: Mapping[int, Count], now: float) -> Gate:
        """Once nobody is waited for, it opens soon, if it may."""
        counts, opens_at = standing.values(), self.opens_at
        is_awaited = any(count.awaited for count in counts) or not any(count.arrived for count in counts)
        if self.number in HURRIED_GATES and not is_awaited:
            grace_s = max(LEAST_GRACE_S, GRACE_SHARE * (now - self.began_at))
            opens_at = min(opens_at, now + grace_s)
        return replace(self, opens_at=opens_at, standing=standing)

    @property
    def is_over(self) -> bool:
        """Whether nobody is left who could come."""
        return not any(count.members for count in self.standing.values())

    def is_due(self, now: float) -> bool:
        """Whether it opens: all who are left are there, or its time is over and somebody is."""
        counts = self.standing.values()
        has_any = any(count.arrived for count in counts)
        are_all = all(count.arrived == count.members for count in counts)
        return has_any and (now >= self.opens_at or are_all)

    def opened(self, now: float, limit_s: float) -> Gate:
        """The next one: who was not there is out, which each hand tells at once; until then as many as before may come."""
        standing = {hand: Count(0, c.members, c.members) for hand, c in self.standing.items()}
        return Gate(self.number + 1, now, now + limit_s, standing)
