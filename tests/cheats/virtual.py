"""Virtual time: a clock that goes on only when everybody who lives by it waits for it, and sessions timed by it.

A conversation is real, with real threads; only seconds are counted. A prover says with each answer how long its
counted work takes, and the answer arrives that much later on the clock, whatever this machine needed.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field

from tasks.errors import HostAway, LimitExceeded
from tests.cheats.rig import Pipe

PATIENCE_S = 60.0
"""Of real time, for a prover that is broken."""


@dataclass(eq=False)
class _Sleeper:
    """One thread that waits: until when, and on what if somebody else may wake it before."""

    until: float
    changed: threading.Condition | None = None
    is_awake: bool = False


@dataclass
class VirtualClock:
    """Seconds for so many threads: time moves to the next instant that any of them waits for, once all of them wait."""

    threads: int
    _now: float = 0.0
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _asleep: list[_Sleeper] = field(default_factory=list)

    def now(self) -> float:
        with self._lock:
            return self._now

    def wait(self, changed: threading.Condition, until: float) -> None:
        """Wait at a gate; wakes early, since each event lets all who are at gates look again."""
        me = _Sleeper(until, changed)
        self._sleep(me)
        if not me.is_awake:
            changed.wait(PATIENCE_S)
        with self._lock:
            self._wake(me)

    def sleep_until(self, until: float) -> None:
        """Let time pass to this instant."""
        self._look_again()
        me = _Sleeper(until)
        self._sleep(me)
        with self._lock:
            assert self._lock.wait_for(lambda: me.is_awake, PATIENCE_S)

    def leave(self) -> None:
        """A thread less lives by this clock."""
        self._look_again()
        with self._lock:
            self.threads -= 1
        self._go_on()

    def _sleep(self, me: _Sleeper) -> None:
        with self._lock:
            self._asleep.append(me)
        self._go_on()

    def _look_again(self) -> None:
        """Whoever stands at a gate may have been let through by what has just happened: it counts as awake."""
        with self._lock:
            at_gates = [s for s in self._asleep if s.changed is not None]
            for sleeper in at_gates:
                self._wake(sleeper)
        _notify(at_gates)

    def _go_on(self) -> None:
        """Move time on when all are asleep."""
        with self._lock:
            if not self._asleep or len(self._asleep) < self.threads:
                return
            self._now = max(self._now, min(s.until for s in self._asleep))
            due = [s for s in self._asleep if s.until <= self._now]
            for sleeper in due:
                self._wake(sleeper)
            self._lock.notify_all()
        _notify(due)

    def _wake(self, sleeper: _Sleeper) -> None:
        sleeper.is_awake = True
        if sleeper in self._asleep:
            self._asleep.remove(sleeper)


def _notify(sleepers: list[_Sleeper]) -> None:
    for sleeper in sleepers:
        if sleeper.changed is not None:
            with sleeper.changed:
                sleeper.changed.notify_all()


class TimedSession:
    """A session whose answers come after the seconds that the prover's counted work takes."""

    def __init__(self, clock: VirtualClock) -> None:
        self.requests = Pipe(clock)
        self._clock = clock
        self._answers: queue.SimpleQueue[tuple[bytes, float] | None] = queue.SimpleQueue()
        self._asked_at = 0.0

    def answer(self, frame: bytes, took_s: float) -> None:
        """The prover's side: a frame, so many seconds after the request."""
        self._answers.put((frame, took_s))

    def hang_up(self) -> None:
        self._answers.put(None)

    def send(self, frame: bytes, *, deadline: float) -> None:  # noqa: ARG002  a queue takes any frame at once
        self._asked_at = self._clock.now()
        self.requests.put(frame)

    def receive(self, *, deadline: float, limit_bytes: int) -> bytes:
        told = self._answers.get(timeout=PATIENCE_S)
        if told is None:
            raise HostAway("prove", "the connection was closed")
        frame, took_s = told
        arrives_at = self._asked_at + took_s
        self._clock.sleep_until(min(arrives_at, deadline))
        if arrives_at > deadline:
            raise HostAway("prove", "no frame in time")
        if len(frame) > limit_bytes:
            raise LimitExceeded("frame", f"{limit_bytes} bytes")
        return frame
