"""Reaching a machine outside of an epoch: its miner's door lets a key of ours in, and a session stands.

    Doors.way(peers, shell, executor_key)  ->  Way.open(deadline)  ->  Session with our program running

A key is asked for once in a while for each machine and kept in memory; with the chain away, machines are reached all the
same: the last finished epoch knows where their miners are.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from storage.records import Executor, MinerReply, Neuron
from storage.snapshots import Snapshot
from tasks.edges.shell import EpochKey, Session
from tasks.errors import BadAnswer, HostAway
from tasks.inspection.talk import start_runner

LIFE_S = 900
"""For which a door is asked to let a key in."""
LEAST_LIFE_S = 120
"""A key that has less left is not used for a new session."""
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
        self._ways: dict[str, Way] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def way(self, snapshot: Snapshot | None, peers: AsksDoors, shell: Opens, executor_key: str) -> Way:
        """The way to a machine: the one that is known while its key lives, else a fresh one; HostAway when there is none."""
        async with self._turns[executor_key]:
            known = self._ways.get(executor_key)
            if known is not None and known.until_s - self._now_s() > LEAST_LIFE_S:
                return known
            way = await self._ask(snapshot, peers, shell, executor_key)
            self._ways[executor_key] = way
            return way

    def forget(self, executor_key: str) -> None:
        """Ask its door anew the next time: the machine did not let us in."""
        self._ways.pop(executor_key, None)

    async def _ask(self, snapshot: Snapshot | None, peers: AsksDoors, shell: Opens, executor_key: str) -> Way:
        hotkey, _, executor_id = executor_key.partition("/")
        neuron = snapshot.neurons.get(hotkey) if snapshot else None
        if snapshot is None or neuron is None or neuron.endpoint is None:
            raise HostAway("door", "its miner announces no door on the chain")
        key, until_s = EpochKey.generate(), int(self._now_s()) + LIFE_S
        reply = await peers.ask(neuron, snapshot.epoch, key.public_line, until_s, (executor_id,))
        found = next((e for e in reply.executors if e.executor_id == executor_id), None)
        if found is None:
            why = reply.reasons[0] if reply.reasons else None
            said = f"{why.code}: {why.got}" if why else "the machine is not among its answer"
            raise BadAnswer(f"door: {said}") if why and why.fails else HostAway("door", said)
        certificate = dict(reply.certificates).get(executor_id)
        return Way(found, key.certified(certificate) if certificate else key, float(until_s), shell)
