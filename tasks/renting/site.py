"""A machine that leases work on: its container engine, the proof of its cards, and an end to all of it at any moment.

`SshSite` is the real one. Everything here blocks: flows call it from threads of their own (`tasks/renting/jobs.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from storage.records import Executor, Verdict
from tasks.edges.runtime import Runtime, find_engine
from tasks.edges.shell import Session
from tasks.edges.toolbox import install_toolbox
from tasks.errors import HostAway, SubnetError
from tasks.proof.challenge import ProofKind
from tasks.renting.proving import Subject, Surroundings, prove_cards, start_waiting
from tasks.renting.reaching import Way


class Site(Protocol):
    """A machine that we have entered."""

    @property
    def executor(self) -> Executor:
        """As its miner announced it when we came."""

    def engine(self, deadline: float) -> Runtime:
        """Its container engine; EngineAway when none answers."""

    def toolbox(self, deadline: float) -> str:
        """The folder of the toolbox over there."""

    def expect_proof(self, kind: ProofKind, deadline: float) -> None:
        """A proof of this kind comes next: its prover may start already. Gives at once, and never raises."""

    def prove(self, subject: Subject, kind: ProofKind, deadline: float) -> Verdict:
        """The verdict over some of its cards; never raises for what the machine does."""

    def close(self) -> None:
        """End what is going on over there; from any thread, twice is harmless."""


class SshSite:
    """A machine behind its SSH server: a session for the engine, and one of its own for each proof."""

    def __init__(self, way: Way, around: Callable[[Callable[[float], Session]], Surroundings]) -> None:
        self._way, self._around = way, around
        self._lock = threading.Lock()
        self._is_closed = False
        self._sessions: list[Session] = []
        self._runtime: Runtime | None = None
        self._expected: tuple[ProofKind, Future[Session | None]] | None = None

    @property
    def executor(self) -> Executor:
        """As its miner announced it when we came."""
        return self._way.executor

    def enter(self, deadline: float) -> None:
        """Find out at once whether the machine lets us in."""
        self._runtime = find_engine(self._open(deadline), deadline=deadline)

    def engine(self, deadline: float) -> Runtime:
        """Its container engine, over one session; a lost session is opened anew."""
        if self._runtime is None or not self._runtime.session.is_alive:
            self._runtime = find_engine(self._open(deadline), deadline=deadline)
        return self._runtime

    def toolbox(self, deadline: float) -> str:
        """The folder of the toolbox over there, sent where it is not there yet."""
        return install_toolbox(self.engine(deadline).session, deadline=deadline)

    def expect_proof(self, kind: ProofKind, deadline: float) -> None:
        """Start its prover in a thread; one that does not come up is started again by the proof, which then says why.

        One that is expected already is not started twice.
        """
        if self._expected is not None and self._expected[0] is kind:
            return
        started: Future[Session | None] = Future()

        def start() -> None:
            try:
                started.set_result(start_waiting(self._around(self._open), kind, deadline=deadline))
            except SubnetError:
                started.set_result(None)
            except BaseException as error:  # noqa: BLE001  whoever waits for it raises it
                started.set_exception(error)

        self._expected = (kind, started)
        threading.Thread(target=start, name="prover", daemon=True).start()

    def prove(self, subject: Subject, kind: ProofKind, deadline: float) -> Verdict:
        """The verdict over some of its cards."""
        around, waiting = self._around(self._open), self._waiting(kind)
        return prove_cards(subject, around, kind, deadline=deadline, waiting=waiting)

    def close(self) -> None:
        """End all sessions, and with them what runs over there for us."""
        with self._lock:
            self._is_closed = True
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()

    def _waiting(self, kind: ProofKind) -> Session | None:
        """The prover that was started for this, if it is still there; one for another proof goes on waiting."""
        expected = self._expected
        if expected is None or expected[0] is not kind:
            return None
        self._expected = None
        session = expected[1].result()  # bounded by the deadline that it was started with
        return session if session is not None and session.is_alive else None

    def _open(self, deadline: float) -> Session:
        session = self._way.open(deadline)
        with self._lock:
            if not self._is_closed:
                # No other is looked at: its thread may be in the midst of a talk.
                self._sessions.append(session)
                return session
        session.close()
        raise HostAway("open", "we have left this machine")
