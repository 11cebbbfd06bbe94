"""Reaching a machine outside of an epoch: its miner's door lets a key of ours in, and a session stands.

    Doors.way(peers, shell, executor_key, lease_id)  ->  Way.open(deadline)  ->  Session with our program running

A key is asked for once in a while for each lease of a machine and kept in memory; with the chain away, machines are reached
all the same: the last finished epoch knows where their miners are. Where a machine confines who comes, a lease's certificate
lets in as its miner's user for rentals, who alone reaches the engine, and its sessions end with it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from storage.records import Executor, MinerReply, Neuron, Reason
from storage.snapshots import Snapshot
from tasks.edges.shell import EpochKey, Session
from tasks.errors import BadAnswer, HostAway
from tasks.inspection.talk import start_runner

LIFE_S = 900
"""For which a door is asked to let a key in."""
LEAST_LIFE_S = 120
"""A key that has less left is not used for a new session."""
LEAST_CERTIFIED_S = 480
"""Nor is a certificate that has less: sessions end with it, and a lease's work on a machine takes five minutes."""
UNKNOWN = "RENT_GRANT_UNKNOWN"
"""The miner's agent does not know leases."""
ATTEMPTS = 2
ONCE_MORE = frozenset({"connect", "handshake"})
"""Phases in which nothing was asked yet."""


class AsksDoors(Protocol):
    """`tasks.edges.peers.Peers`, as far as it is needed here."""

    async def ask(
        self,
        neuron: Neuron,
        epoch: int,
        key_line: str,
        expires_at: int,
        executor_ids: tuple[str, ...] | None = None,
        *,
        lease_id: str = "",
    ) -> MinerReply:
        """Hand over a key; the machines that let it in."""


class Opens(Protocol):
    """`tasks.edges.shell.Shell`, as far as it is needed here."""

    def open(self, executor: Executor, key: EpochKey, *, deadline: float) -> Session:
        """A session."""


@dataclass(frozen=True, slots=True)
class Way:
    """A machine that lets a key of ours in for a while."""

    executor: Executor
    """As its miner announced it just now, signed."""
    key: EpochKey = field(repr=False)
    until_s: float
    """Unix seconds."""
    shell: Opens = field(repr=False)
    is_certified: bool = False
    """Whether its sessions end when the key does."""

    def lives(self, now_s: float) -> bool:
        """Whether a session that begins now has time enough."""
        return self.until_s - now_s > (LEAST_CERTIFIED_S if self.is_certified else LEAST_LIFE_S)

    def open(self, deadline: float) -> Session:
        """A session with our program running, by this instant of `time.monotonic()`; it blocks."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                session = self.shell.open(self.executor, self.key, deadline=deadline)
                break
            except HostAway as error:
                if attempt == ATTEMPTS or error.phase not in ONCE_MORE or time.monotonic() > deadline - 1.0:
                    raise
        try:
            start_runner(session, deadline=deadline)
        except BaseException:
            session.close()
            raise
        return session


class Doors:
    """The ways that this process has found; one object for all its flows."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._ways: dict[tuple[str, str], Way] = {}
        self._turns: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def way(
        self, snapshot: Snapshot | None, peers: AsksDoors, shell: Opens, executor_key: str, lease_id: str = ""
    ) -> Way:
        """The way to a machine for a lease: the one that is known while its key lives, else a fresh one.

        HostAway when there is none. Without a lease it is the way of who validates.
        """
        place = (executor_key, lease_id)
        async with self._turns[place]:
            known = self._ways.get(place)
            if known is not None and known.lives(self._now_s()):
                return known
            self._forget_dead()
            way = await self._ask(snapshot, peers, shell, executor_key, lease_id)
            self._ways[place] = way
            return way

    def forget(self, executor_key: str, lease_id: str = "") -> None:
        """Ask its door anew the next time: the machine did not let us in."""
        self._ways.pop((executor_key, lease_id), None)

    def end(self, lease_id: str) -> None:
        """The lease is over: its keys are used no more."""
        for place in [place for place in self._ways if place[1] == lease_id]:
            del self._ways[place]

    def _forget_dead(self) -> None:
        now_s = self._now_s()
        for place in [place for place, way in self._ways.items() if way.until_s <= now_s]:
            del self._ways[place]
        for place in [p for p, turn in self._turns.items() if p not in self._ways and not turn.locked()]:
            del self._turns[place]

    async def _ask(
        self, snapshot: Snapshot | None, peers: AsksDoors, shell: Opens, executor_key: str, lease_id: str
    ) -> Way:
        hotkey, _, executor_id = executor_key.partition("/")
        neuron = snapshot.neurons.get(hotkey) if snapshot else None
        if snapshot is None or neuron is None or neuron.endpoint is None:
            raise HostAway("door", "its miner announces no door on the chain")
        key, until_s = EpochKey.generate(), int(self._now_s()) + LIFE_S
        ask = partial(peers.ask, neuron, snapshot.epoch, key.public_line, until_s, (executor_id,))
        reply = await ask(lease_id=lease_id)
        if (unknown := _first(reply, UNKNOWN)) is not None:
            reply = await ask()
            if executor_id in dict(reply.certificates):
                # A certificate for validating opens no engine: that it was refused is clearer than what would be found there.
                raise HostAway("door", f"{unknown.code}: {unknown.got}")
        found = next((e for e in reply.executors if e.executor_id == executor_id), None)
        if found is None:
            why = _first(reply)
            said = f"{why.code}: {why.got}" if why else "the machine is not among its answer"
            raise BadAnswer(f"door: {said}") if why and why.fails else HostAway("door", said)
        certificate = dict(reply.certificates).get(executor_id)
        own = key.certified(certificate) if certificate else key
        return Way(found, own, float(until_s), shell, is_certified=certificate is not None)


def _first(reply: MinerReply, code: str = "") -> Reason | None:
    return next((reason for reason in reply.reasons if code in ("", reason.code)), None)
