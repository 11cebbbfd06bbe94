"""What the visits and proofs of one hand share: the shell, the open sessions, the turns for bandwidth, the way to ask."""

from __future__ import annotations

import resource
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from mmap import mmap
from typing import NoReturn

import gevent
from gevent.lock import BoundedSemaphore

from storage.records import Executor
from tasks.crew.orders import Access, Begin
from tasks.crew.pacing import LOOK_S, Pace
from tasks.crew.patience import Patience
from tasks.edges import green
from tasks.edges.bounded import For
from tasks.edges.shell import EpochKey, Session
from tasks.errors import HostAway
from tasks.policy import Policy

Ask = Callable[[str, tuple[str, ...]], str]
SPARE_FILES = 512
"""Of a process: libraries, logs, the link, and in a hand that is a thread all that the flow has open."""
_MARK = struct.Struct("<Q")


class Suspect:
    """Shared memory in which a hand notes whose greenlet runs, for whoever has to kill it."""

    def __init__(self, memory: mmap | bytearray | None = None) -> None:
        self._memory = bytearray(_MARK.size) if memory is None else memory

    @property
    def number(self) -> int:
        """The machine's, 0 for none."""
        (number,) = _MARK.unpack_from(self._memory)
        return int(number)

    def note(self, number: int) -> None:
        """This machine's greenlet runs from now on."""
        _MARK.pack_into(self._memory, 0, number)


def _room_for(talking: int) -> int:
    """Idle sessions that this process has descriptors for, beside those of machines that it talks to."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft - talking - SPARE_FILES


class Worker(gevent.Greenlet):  # type: ignore[misc]  # it has no types
    """The greenlet of one machine."""

    number = 0
    is_visit = False
    """Whether its time is taken: a proof's is kept by its wave."""
    is_hurried = False
    """Whether nobody waits for it."""


class Station:
    """One hand's; its greenlets use it one at a time."""

    def __init__(self, begin: Begin, ask: Ask, suspect: Suspect) -> None:
        self.policy: Policy = begin.policy
        self.ask = ask
        self.suspect = suspect
        self.shell = green.green_shell(begin.shell, self._wait)
        self.live = BoundedSemaphore(begin.most_sessions)
        self.waiting, self.until = 0, 0.0
        """Machines that wait for their visit, and when all visits must be over."""
        self.patience: Patience[Worker] = Patience()
        self._pace = Pace(begin.shell.starts_per_s, begin.shell.starts_per_s)
        self._most_held = max(begin.most_sessions, min(begin.most_open, _room_for(begin.most_sessions)))
        self._probes = BoundedSemaphore(begin.most_probes)
        self._sessions: dict[str, Session] = {}
        self._keys: dict[bytes, EpochKey] = {}
        self._accesses: dict[str, Access] = {}

    def clock(self) -> float:
        """The monotonic clock that all deadlines are meant in."""
        return time.monotonic()

    def keep_pace(self) -> NoReturn:
        """Start sessions as fast as this hand keeps up with, for ever."""
        while True:
            due = self.clock() + LOOK_S
            gevent.sleep(LOOK_S)
            now = self.clock()
            self._pace = self._pace.next(now - due, self.waiting, self.until - now)
            self.shell.pacer.set_rate(self._pace.now_per_s)
            for worker, had_s in self.patience.late(now).items():
                # Once: what it is told ends the visit.
                self.patience.pause(worker, now)
                worker.kill(HostAway("visit", f"no answer by its deadline of {had_s:.0f} s"), block=False)

    @contextmanager
    def turn(self, until: float) -> Iterator[bool]:
        """A place among the machines that are talked to at once; False when none was free by then."""
        self.waiting, self.until = self.waiting + 1, max(self.until, until)
        try:
            is_ours = bool(self.live.acquire(timeout=max(0.0, until - self.clock())))
        finally:
            self.waiting -= 1
        try:
            yield is_ours
        finally:
            if is_ours:
                self.live.release()

    def admit(self, accesses: Mapping[str, Access]) -> None:
        """From now on these machines, by their keys, are logged in to like this."""
        self._accesses.update(accesses)

    def key_for(self, executor: Executor) -> EpochKey:
        """The miner's key, with this machine's certificate where it has one; BadAnswer when that is none of ours."""
        access = self._accesses[executor.key]
        key = self._keys.get(access.seed)
        if key is None:
            key = self._keys[access.seed] = EpochKey.of(access.seed)
        return key if access.certificate is None else key.certified(access.certificate)

    def hear(self) -> None:
        """The machine that is being visited has answered."""
        self.patience.hear(gevent.getcurrent(), self.clock())

    @contextmanager
    def probe_slot(self, deadline: float) -> Iterator[bool]:
        """A turn to measure bandwidth; False when none is free by the deadline."""
        self.patience.pause(gevent.getcurrent(), self.clock())
        is_ours = bool(self._probes.acquire(timeout=max(0.0, deadline - self.clock())))
        self.patience.resume(gevent.getcurrent(), self.clock())
        try:
            yield is_ours
        finally:
            if is_ours:
                self._probes.release()

    def hold(self, executor: Executor, session: Session) -> None:
        """Keep a machine's session for the proof; one too many is closed, and opened again when it is needed."""
        if len(self._sessions) < self._most_held:
            self._sessions[executor.key] = session
        else:
            session.close()

    def keep(self, executor: Executor, session: Session) -> None:
        """Keep a session that a proof has opened, however many there are: its wave has room for all."""
        self._sessions[executor.key] = session

    def session_of(self, executor_key: str) -> Session | None:
        """The session that is still open to this machine."""
        session = self._sessions.get(executor_key)
        return session if session is not None and session.is_alive else None

    def release_but(self, executor_keys: Iterable[str]) -> None:
        """Close the sessions of all other machines."""
        kept = frozenset(executor_keys)
        self.release([key for key in self._sessions if key not in kept])

    def release(self, executor_keys: Iterable[str]) -> None:
        """Close the sessions of these machines, where they are open."""
        for key in executor_keys:
            session = self._sessions.pop(key, None)
            if session is not None:
                session.close()

    def _wait(self, sock: socket.socket, what: For, timeout_s: float) -> None:
        # Whoever waits keeps nobody from going on.
        self.suspect.note(0)
        current = gevent.getcurrent()
        if getattr(current, "is_visit", False):
            self.patience.begin(current, self.clock(), is_hurried=current.is_hurried)
        green.wait(sock, what, timeout_s)
        self.suspect.note(getattr(current, "number", 0))
