"""One epoch's working memory: the edges, the policy, the keys and the sessions that its steps share.

`EpochRun` is a plain class on purpose: Prefect walks through every field of every dataclass that a task is
given, which for hundreds of executors costs more than the inspection itself. The records between the steps
are still frozen and still go one way; the run only holds what must not be copied.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import sqlalchemy as sa

from storage.records import (
    BLOCKS_PER_EPOCH,
    EpochHeader,
    Executor,
    ExecutorRecord,
    HostReport,
    Lease,
    Look,
    Quote,
    Reason,
    Severity,
    SubnetView,
    Verdict,
)
from storage.state import State
from tasks.edges.chain import Chain
from tasks.edges.collateral import CollateralSource, OwnLedger
from tasks.edges.peers import Peers
from tasks.edges.prices import HttpMarket, Market, load_book
from tasks.edges.shell import EpochKey, Session, Shell
from tasks.edges.wire import MAX_EXECUTORS
from tasks.errors import ChainAway, ChainRefused
from tasks.policy import Policy
from tasks.pricing.book import PriceBook
from tasks.progress import Progress
from tasks.proof.population import Populations

_log = logging.getLogger("subnet.epoch")
THREAD_STACK_BYTES = 1024 * 1024
"""Of every thread of ours: a thousand of them are paged in only as far as they are used."""
SWITCH_S = 0.1
"""How long a thread may keep the interpreter when others want it. Each that waits asks again after this time: at Python's
5 ms a thousand waiting threads do nothing but ask, and answers are seen seconds late. Ours wait soon by themselves."""


@dataclass(frozen=True, slots=True)
class Edges:
    """The outside worlds of a validator, opened once by whoever starts the flow."""

    chain: Chain
    peers: Peers
    shell: Shell
    engine: sa.Engine
    history: Path
    own_hotkey: str
    is_embedded: bool
    executors_per_shard: int = 50
    max_sessions: int = 1_000
    monotonic: Callable[[], float] = field(default=time.monotonic)
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)
    """By the same clock."""
    leases: Callable[[], tuple[Lease, ...]] = field(default=tuple)
    """The renters' leases that are active now; none where nobody rents."""
    market: Market = field(default_factory=HttpMarket)
    """The sources of prices; none unless the settings name some."""
    book: PriceBook = field(default_factory=lambda: load_book(None))
    """The price file."""
    deposit_address: str = ""
    """Where renters send TAO to; empty: nowhere."""
    collateral: CollateralSource | None = None
    """Who keeps machines' deposits; None: our own ledger, in the state."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run that died has found out of this epoch's machines: no card is proved twice in an epoch."""

    executors: Mapping[str, Executor] = field(default_factory=dict)
    reports: Mapping[str, HostReport] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    def report_of(self, executor: Executor) -> HostReport | None:
        """The report of a machine that has its verdict, if its miner still announces it as it did."""
        return self.reports.get(executor.key) if self.executors.get(executor.key) == executor else None

    def without(self, executor_key: str) -> Kept:
        """The same, as if nothing had been found out of this machine."""
        executors, reports = dict(self.executors), dict(self.reports)
        executors.pop(executor_key, None)
        reports.pop(executor_key, None)
        return replace(self, executors=executors, reports=reports)


class EpochRun:
    """What the steps of one epoch share."""

    def __init__(
        self,
        edges: Edges,
        *,
        state: State,
        header: EpochHeader,
        policy: Policy,
        view: SubnetView,
        records: Mapping[str, ExecutorRecord],
    ) -> None:
        self.edges = edges
        self.state = state
        self.header = header
        self.policy = policy
        self.view = view
        self.records = records
        self.populations: Populations = MappingProxyType({})
        """What the archive knows of each model: loaded once when the epoch opens, never changed after."""
        self.kept = Kept()
        """Loaded once when the epoch opens, never changed after."""
        self.unheard: dict[str, tuple[Reason, ...]] = {}
        """Machines that nobody could be asked for, and why: they are not visited, and scored for grace alone."""
        self.progress = Progress(header.epoch, state.set_phase)
        self.incidents: list[Reason] = []
        self.collateral = edges.collateral or OwnLedger(edges.engine)
        self.leases = edges.leases()
        self.leased_keys = frozenset(lease.executor_key for lease in self.leases)
        """Machines that a renter has and keeps through this epoch."""
        self.looks: tuple[Look, ...] = ()
        """At weights that were set before, for whoever explains the epoch."""
        self.bans = state.active_bans(header.started_at)
        self.banned_codes: dict[str, str] = {}
        """Machine -> code of the ban that inspection found it under, leased or not."""
        self.quotes: tuple[Quote, ...] = edges.book.quotes()
        """What the market pays: the price file's numbers until the epoch has asked."""
        self.is_scored = False
        """Whether the epoch came as far as its scores: only then is it counted for or against any machine."""
        self._sessions: dict[str, Session] = {}
        self._keys: dict[str, EpochKey] = {}
        self.certificates: Mapping[str, str] = MappingProxyType({})
        """Machine -> what its miner signed for our key; machines without one know the key itself."""
        self._lock = threading.Lock()
        self._probes = threading.BoundedSemaphore(policy.inspection.bandwidth_probes_at_once)
        threading.stack_size(THREAD_STACK_BYTES)
        self._switch_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        # A wave needs a thread for each member at once, and one miner's machines are never split over waves.
        self.capacity = max(edges.max_sessions, MAX_EXECUTORS)
        """Machines that are talked to at the same time."""
        self.pool = ThreadPoolExecutor(self.capacity, thread_name_prefix="machine")

    @property
    def epoch(self) -> int:
        """The epoch's number."""
        return self.header.epoch

    @property
    def clock(self) -> Callable[[], float]:
        """The monotonic clock that all deadlines are meant in."""
        return self.edges.monotonic

    def first_hash(self) -> str:
        """Of the epoch's first block: the same for all validators, whenever they begin; empty when it can't be read."""
        try:
            return self.edges.chain.block_hash(self.epoch * BLOCKS_PER_EPOCH)
        except (ChainAway, ChainRefused) as error:
            self.note_incident(error)
            return ""

    def renew_leases(self) -> None:
        """Count in what was leased since the epoch began: a renter who came meanwhile is spared the full proof, too."""
        known = {lease.lease_id for lease in self.leases}
        self.leases = (*self.leases, *(lease for lease in self.edges.leases() if lease.lease_id not in known))
        self.leased_keys |= {lease.executor_key for lease in self.leases}

    def record_of(self, executor_key: str) -> ExecutorRecord:
        """What earlier epochs know of a machine; an empty record for one that is new."""
        return self.records.get(executor_key) or ExecutorRecord(executor_key)

    def key_of(self, miner_hotkey: str) -> EpochKey:
        """This epoch's key for one miner's machines: made when first asked for, gone with the run."""
        with self._lock:
            if miner_hotkey not in self._keys:
                self._keys[miner_hotkey] = EpochKey.generate()
            return self._keys[miner_hotkey]

    def key_for(self, executor: Executor) -> EpochKey:
        """The miner's key, with this machine's certificate where it has one; BadAnswer when that is none of ours."""
        key, certificate = self.key_of(executor.miner_hotkey), self.certificates.get(executor.key)
        return key if certificate is None else key.certified(certificate)

    @contextmanager
    def probe_slot(self, deadline: float) -> Iterator[bool]:
        """A turn to measure bandwidth; False when none is free by the deadline."""
        is_ours = self._probes.acquire(timeout=max(0.0, deadline - self.clock()))
        try:
            yield is_ours
        finally:
            if is_ours:
                self._probes.release()

    def hold(self, executor: Executor, session: Session) -> None:
        """Keep a machine's session for the next step; one too many is closed, and opened again when it is needed."""
        with self._lock:
            if len(self._sessions) < self.capacity:
                self._sessions[executor.key] = session
                return
        session.close()

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
            with self._lock:
                session = self._sessions.pop(key, None)
            if session is not None:
                session.close()

    def note_incident(self, error: Exception) -> None:
        """Keep trouble of our own side or the chain's for the archive; the epoch ends with what it has."""
        _log.error("epoch %s: %s", self.epoch, error, exc_info=error)
        code = "".join(f"_{c}" if c.isupper() else c.upper() for c in type(error).__name__).strip("_").upper()
        mend = "See the validator's log; the next epoch tries again."
        self.incidents.append(
            Reason(code, Severity.NO_VERDICT, str(error)[:300], "an epoch that goes through", mend)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every session and forget the keys, whatever happened."""
        sys.setswitchinterval(self._switch_s)
        self.release(list(self._sessions))
        self._keys.clear()
        self.pool.shutdown(wait=False, cancel_futures=True)


class Shard:
    """The executors that one Prefect task handles together; a plain class for the same reason as the run."""

    def __init__(self, number: int, executors: tuple[Executor, ...]) -> None:
        self.number = number
        self.executors = executors


def shards(executors: Iterable[Executor], size: int) -> list[Shard]:
    """Shards of at most `size` executors, numbered from 0, in the order given."""
    every = tuple(executors)
    return [Shard(i // size, every[i : i + size]) for i in range(0, len(every), size)]
