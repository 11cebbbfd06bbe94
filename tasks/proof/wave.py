"""The wave: one rendezvous for all executors that are proved together.

    gate 0        1              2 .. rounds   rounds + 1      rounds + 2
         GO       first nonce    next nonces   product's nonce OPEN

A gate opens for everybody at one instant: when all who are still in the wave stand at it, or when its time is
over. Who is not there then is out of the wave, which costs nobody else anything. Threads of any number of
shards share one wave; a member costs two set entries, and threads wake once a gate.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from tasks.policy import ProofPolicy


class Clock(Protocol):
    """Monotonic seconds, and waiting by them."""

    def now(self) -> float:
        """Seconds since some fixed moment."""
        ...

    def wait(self, changed: threading.Condition, until: float) -> None:
        """Wait, holding `changed`, until it is notified or `until` has come; may wake early."""
        ...


class Gates(Protocol):
    """The face of a wave: one rendezvous after the other."""

    def pass_gate(self, member: str, gate: int) -> float | None:
        """Wait until the gate opens and tell the instant; None when it opened without this member."""
        ...

    def leave(self, member: str) -> None:
        """Go out of the wave."""
        ...

    def seat(self, member: str) -> AbstractContextManager[None]:
        """Leave the wave at the end of the block."""
        ...

    def deadline(self, gate: int) -> float:
        """When this gate opens at the latest."""
        ...


class MonotonicClock:
    """The machine's monotonic clock, the one that a session's deadlines are meant in."""

    def now(self) -> float:
        """Seconds of `time.monotonic`."""
        return time.monotonic()

    def wait(self, changed: threading.Condition, until: float) -> None:
        """Wait on the condition itself."""
        changed.wait(max(0.0, until - self.now()))


def gate_limits_s(policy: ProofPolicy, assembly_s: float) -> tuple[float, ...]:
    """For each gate: seconds after the gate before it (the first: after the wave began) until it opens at the latest."""
    return (assembly_s, policy.barrier_deadline_s, *[policy.round_deadline_s] * (policy.rounds + 1))


class Wave:
    """Gates that open at one instant for all members who have come; the rest is out."""

    def __init__(self, members: Iterable[str], limits_s: Sequence[float], clock: Clock) -> None:
        self._limits_s = tuple(limits_s)
        self._clock = clock
        self._changed = threading.Condition()
        self._members = set(members)
        self._arrived: set[str] = set()
        self._opened = [clock.now()]
        """The wave's begin, then the instant of each gate that has opened."""

    def pass_gate(self, member: str, gate: int) -> float | None:
        """Wait until the gate opens and tell the instant; None when it opened without this member."""
        with self._changed:
            if member not in self._members or gate != self._next_gate:
                return None
            self._arrived.add(member)
            while self._next_gate == gate:
                self._open_if_due()
                if self._next_gate == gate:
                    self._clock.wait(self._changed, self._deadline(gate))
            return self._opened[gate + 1] if member in self._members else None

    def leave(self, member: str) -> None:
        """Go out of the wave, if still in it; nobody waits for this member any more."""
        with self._changed:
            self._members.discard(member)
            self._arrived.discard(member)
            self._open_if_due()

    @contextmanager
    def seat(self, member: str) -> Iterator[None]:
        """Leave the wave at the end of the block, however it ends."""
        try:
            yield
        finally:
            self.leave(member)

    def deadline(self, gate: int) -> float:
        """When this gate opens at the latest; known once the gate before it has opened."""
        with self._changed:
            return self._deadline(gate)

    @property
    def members(self) -> frozenset[str]:
        """Who is still in the wave."""
        with self._changed:
            return frozenset(self._members)

    @property
    def _next_gate(self) -> int:
        return len(self._opened) - 1

    def _deadline(self, gate: int) -> float:
        return self._opened[gate] + self._limits_s[gate]

    def _open_if_due(self) -> None:
        if not self._arrived:
            return
        now = self._clock.now()
        if len(self._arrived) == len(self._members) or now >= self._deadline(self._next_gate):
            self._opened.append(now)
            self._members, self._arrived = self._arrived, set()
            self._changed.notify_all()
