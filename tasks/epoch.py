"""One epoch's working memory: the edges, the policy, the keys and the sessions that its steps share.

`EpochRun` is a plain class on purpose: Prefect walks through every field of every dataclass that a task is
given, which for hundreds of executors costs more than the inspection itself. The records between the steps
are still frozen and still go one way; the run only holds what must not be copied.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType, TracebackType
from typing import Self

import sqlalchemy as sa

from storage.places import Place
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
from tasks.crew.foreman import Crew, Roster
from tasks.crew.orders import Access
from tasks.crew.rosters import Threads
from tasks.edges.chain import Chain
from tasks.edges.collateral import CollateralSource, OwnLedger
from tasks.edges.peers import Peers
from tasks.edges.prices import HttpMarket, Market, load_book
from tasks.edges.shell import EpochKey, Shell
from tasks.errors import ChainAway, ChainRefused
from tasks.policy import Policy
from tasks.pricing.book import PriceBook
from tasks.progress import Progress
from tasks.proof.population import Populations

_log = logging.getLogger("subnet.epoch")


@dataclass(frozen=True, slots=True)
class Edges:
    """The outside worlds of a validator, opened once by whoever starts the flow."""

    chain: Chain
    peers: Peers
    shell: Shell
    engine: sa.Engine
    history: Place
    own_hotkey: str
    is_embedded: bool
    executors_per_shard: int = 100
    max_sessions: int = 1_000
    """Machines that are talked to at once, and of one wave."""
    max_open: int = 10_000
    """Sessions that stay open from a machine's visit to its proof."""
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
    roster: Callable[[], Roster] = field(default=Threads)
    """Where the hands that talk to machines come from."""
    most_hands: int = 1


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
        self.crew: Crew | None = None
        """The hands that talk to machines, while they are at work."""
        self._keys: dict[str, EpochKey] = {}
        self.certificates: Mapping[str, str] = MappingProxyType({})
        """Machine -> what its miner signed for our key; machines without one know the key itself."""
        self._lock = threading.Lock()

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

    def access_to(self, executor: Executor) -> Access:
        """How a hand logs in to this machine."""
        return Access(self.key_of(executor.miner_hotkey).seed, self.certificates.get(executor.key))

    @property
    def hands(self) -> Crew:
        """The crew at work; it is an error of ours to need it when there is none."""
        if self.crew is None:
            raise AssertionError("nobody is hired: the steps that talk to machines belong inside of `crewed`")
        return self.crew

    def note_losses(self, lost: Mapping[str, int]) -> None:
        """Keep for the archive why processes of ours were lost; what they were at was done again, or has no verdict."""
        for why, count in lost.items():
            mend = "Nothing to do when it is rare; when not, SUBNET_HAND_MIB and the validator's log."
            got = f"{why}; {count} of them"[:300]
            self.incidents.append(Reason("HAND_LOST", Severity.WARN, got, "processes that last", mend))

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
        """Forget the keys, whatever happened."""
        self._keys.clear()


class Shard:
    """The executors that one Prefect task handles together; a plain class for the same reason as the run."""

    def __init__(self, number: int, executors: tuple[Executor, ...]) -> None:
        self.number = number
        self.executors = executors


def shards(executors: Iterable[Executor], size: int) -> list[Shard]:
    """Shards of at most `size` executors, numbered from 0, in the order given."""
    every = tuple(executors)
    return [Shard(i // size, every[i : i + size]) for i in range(0, len(every), size)]
