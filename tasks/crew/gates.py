"""A wave whose members are in several processes: each hand counts its own, the foreman opens the gates.

hand: 37 of 50 at gate 2 -> ... -> 50 of 50 --.
hand: 50 of 50 -----------------------------  foreman: open gate 2, to all of them at once
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from gevent.event import Event

from tasks.crew.orders import AtGate

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
    ) -> None:
        self._wave, self._limits_s, self._tell, self._clock = wave, tuple(limits_s), tell, clock
        self._members, self._arrived = set(members), set[str]()
        self._opened = [clock()]
        self._turn: Any = Event()

    def pass_gate(self, member: str, gate: int) -> float | None:
        """Wait until the gate opens and tell the instant; None when it opened without this member."""
        if member not in self._members or gate != self._next_gate:
            return None
        self._arrived.add(member)
        if len(self._arrived) in {1, len(self._members)}:
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
            if len(self._arrived) == len(self._members):
                self._say()

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

    def open(self, gate: int) -> None:
        """The foreman's word."""
        if gate != self._next_gate:
            return
        self._opened.append(self._clock())
        self._members, self._arrived = self._arrived, set()
        turn, self._turn = self._turn, Event()
        turn.set()
        # The foreman knows what it had heard when it opened: who came in that instant is told now.
        self._say()

    @property
    def _next_gate(self) -> int:
        return len(self._opened) - 1

    def _say(self) -> None:
        self._tell(AtGate(self._wave, self._next_gate, len(self._arrived), len(self._members)))


@dataclass(frozen=True, slots=True)
class Gate:
    """What the foreman knows of the gate that opens next."""

    number: int
    opens_at: float
    """At the latest."""
    standing: Mapping[int, tuple[int, int]]
    """Hand -> its members that have arrived, and all that it has left."""

    def told(self, hand: int, standing: AtGate) -> Gate:
        """With a hand's count; one of another gate was on its way when this one came."""
        if standing.gate != self.number or hand not in self.standing:
            return self
        return replace(self, standing={**self.standing, hand: (standing.arrived, standing.members)})

    def lost(self, hand: int) -> Gate:
        """Without a hand that is gone, its members with it."""
        return replace(self, standing={h: count for h, count in self.standing.items() if h != hand})

    @property
    def is_over(self) -> bool:
        """Whether nobody is left who could come."""
        return not any(members for _, members in self.standing.values())

    def is_due(self, now: float) -> bool:
        """Whether it opens: all who are left are there, or its time is over and somebody is."""
        counts = self.standing.values()
        has_any = any(arrived for arrived, _ in counts)
        return has_any and (now >= self.opens_at or all(arrived == members for arrived, members in counts))

    def opened(self, now: float, limit_s: float) -> Gate:
        """The next one: who was not there is out, which each hand tells at once; until then as many as before may come."""
        standing = {hand: (0, members) for hand, (_, members) in self.standing.items()}
        return Gate(self.number + 1, now + limit_s, standing)
