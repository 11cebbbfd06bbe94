"""Everything that the marketplace works with, passed in: no route reaches for anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Literal, Protocol

import sqlalchemy as sa

from deployments.marketplace import chain_asking, orchestration
from deployments.marketplace.affairs import Affairs
from deployments.marketplace.asking import Asking
from deployments.marketplace.board import Board
from deployments.marketplace.buckets import Buckets, Counted, Rate
from deployments.marketplace.catalogue import Catalogue
from deployments.marketplace.chain_asking import ChainRows
from deployments.marketplace.challenges import Challenges
from deployments.marketplace.drawn import Drawn, Make
from deployments.marketplace.estimates import Estimates
from deployments.marketplace.miners import Miners
from deployments.marketplace.orchestration import Orchestration
from deployments.marketplace.pulse import News, Pulse
from deployments.marketplace.quick import KnownKeys, QuickOffers
from deployments.marketplace.sampling import Samplers, Sampling
from flows.settings import Network
from storage.backups import Backups
from storage.belongings import BlockedImages, SshKeys, Templates
from storage.certificates import Certificates
from storage.health import LeaseHealth
from storage.lease_events import LeaseEvents
from storage.money import Money
from storage.operations import Operations
from storage.page_sessions import PageSessions
from storage.passkeys import Passkeys
from storage.rental import Offer, Rental
from storage.rentals import Rentals
from storage.renters import Renters
from storage.requests import RequestsSeen
from storage.sealing import Sealer
from storage.volumes import Volumes
from storage.webhooks import Webhooks
from storage.works import Works
from tasks.policy import DEFAULT, Policy
from tasks.renting.api_keys import ended
from tasks.renting.meter import Reading

NEWS = 1_000
"""Events that one look takes in."""
PER_KEY = Rate(per_s=50.0, burst=400)
PER_ADDRESS = Rate(per_s=200.0, burst=1_000)
PER_VISITOR = Rate(per_s=10.0, burst=100)
FAILURES = Rate(per_s=0.2, burst=20)
SIGN_INS = Rate(per_s=0.05, burst=20)
PASSKEYS = Rate(per_s=1 / 60, burst=10)
SIGN_UPS = Rate(per_s=5 / 86_400, burst=5)
ESTIMATES = Rate(per_s=1.0, burst=10)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one renter, one address and all of them together may ask for."""

    per_key: Rate = PER_KEY
    per_address: Rate = PER_ADDRESS
    """Many renters can be behind one address."""
    per_visitor: Rate = PER_VISITOR
    """Pages that anybody may look at, per address."""
    failures: Rate = FAILURES
    """Keys and signatures that open nothing, per address: after so many it is not looked whether one does."""
    sign_ins: Rate = SIGN_INS
    """Browsers that are signed in by hotkeys, which everybody can make, per address."""
    passkeys: Rate = PASSKEYS
    """Passkeys that a renter has kept, and browsers that it signs in with them."""
    sign_ups: Rate = SIGN_UPS
    """Accounts that are made on the page, per address."""
    estimates: Rate = ESTIMATES
    """Of a miner's pay, per hotkey and per address."""
    sign_ups_a_day: int = 200
    """By everybody together."""
    body_bytes: int = 2 << 20
    request_s: float = 20.0
    streams_per_key: int = 8
    streams_per_renter: int = 64
    streams: int = 600
    stream_s: float = 3_600.0
    """A feed ends then; its reader goes on with Last-Event-ID."""
    heartbeat_s: float = 15.0
    key_check_s: float = 5.0
    """A feed whose key was revoked ends within so long."""
    poll_s: float = 1.0
    """Between two looks into a log, or for a new sample."""
    containers_at_once: int = 16
    """Threads that talk to machines."""
    containers_waiting: int = 64
    """Requests that talk to a machine or wait for a thread to do it."""
    containers_per_renter: int = 4
    followers: int = 128
    """Logs that are followed: each keeps a session to a machine."""
    followers_per_renter: int = 4
    follower_reads: int = 8
    """Those that are read at this moment: fewer than there are threads, so that whoever follows keeps no command waiting."""
    follower_reads_per_renter: int = 2
    console_open_s: float = 30.0
    sampling: Sampling = field(default_factory=Sampling)
    """How leases are measured while somebody looks."""
    exec_output_bytes: int = 256 << 10
    log_bytes: int = 256 << 10


@dataclass(frozen=True, slots=True)
class Printed:
    """What a command in a container, or its log, printed."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    is_truncated: bool


class Console(Protocol):
    """A session to the machine of one lease; its calls block, and are used by one thread at a time."""

    def execute(self, argv: tuple[str, ...], stdin: bytes, timeout_s: float, limit_bytes: int) -> Printed:
        """Run a command in the lease's container."""

    def logs(self, tail: int, since: datetime | None, limit_bytes: int) -> Printed:
        """The last lines of its log, each with its time before it."""

    def measure(self, card_uuids: tuple[str, ...], timeout_s: float) -> Reading:
        """What the container and these cards do now."""

    def close(self) -> None:
        """End the session; twice is harmless."""


class Consoles(Protocol):
    """Opens sessions to the machines of leases."""

    async def open(self, rental: Rental, deadline_s: float) -> Console:
        """A session, within so many seconds; HostAway, MinerAway or EngineAway else."""


class OfferSource(Protocol):
    """What the last epoch proved."""

    def __call__(self) -> Iterable[Offer]:
        """All machines that can be offered, held cards or not."""


@dataclass(frozen=True, slots=True)
class DepositInfo:
    """Where renters transfer their money to."""

    address: str = ""
    """Empty: no deposits are taken."""
    network: str = ""


def _utc_now() -> datetime:
    return datetime.now(UTC)


OrchestratorState = Literal["ok", "away", "failing", "unknown"]


class StarterState(Protocol):
    """What routes ask of whoever starts the flows."""

    def poke(self) -> None:
        """There is new work."""

    @property
    def orchestrator(self) -> OrchestratorState:
        """How the last try went."""


class NoStarter:
    """For a marketplace whose works somebody else starts."""

    orchestrator: OrchestratorState = "unknown"

    def poke(self) -> None:
        """Nobody is waked."""


@dataclass(frozen=True, slots=True)
class Market:
    """The outside worlds and the clock; `stores` are made of them."""

    engine: sa.Engine
    sealer: Sealer
    digest_key: bytes
    """Keys the digests of requests, which may hold secrets that are easily guessed."""
    offers: OfferSource
    consoles: Consoles
    starter: StarterState = field(default_factory=NoStarter)
    policy: Policy = DEFAULT
    limits: Limits = Limits()
    deposit: DepositInfo = DepositInfo()
    backups: Path | None = None
    """The folder of their files; None: they can't be fetched here."""
    is_local: bool = False
    """Of the local subnet: webhooks may go to this machine, and its own image is a template."""
    cors_origins: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    """Where its pages are, as `tasks.origins` writes it; none: on its own computer, whatever leads to its port there."""
    trusted_proxies: tuple[Network, ...] = ()
    """Of these alone it is believed whom they were asked by."""
    is_sign_up_open: bool = False
    """Whether everybody may make an account."""
    operators: frozenset[str] = frozenset()
    """Hotkeys whose owners see the operator's page."""
    charts: Make | None = None
    """The charts of the last days, made beside; None: there is no archive here."""
    chain_rows: Callable[[], ChainRows] | None = None
    """The weights of validators as the chain has them, asked in a thread of its own; None: no chain can be asked."""
    orchestration: Callable[[], Orchestration] | None = None
    """How whoever runs the flows is, asked in a thread of its own; None: nobody can be asked."""
    now: Callable[[], datetime] = _utc_now
    clock: Callable[[], float] = monotonic


class Stores:
    """The tables, each with its queries."""

    def __init__(self, engine: sa.Engine) -> None:
        self.renters, self.requests = Renters(engine), RequestsSeen(engine)
        self.page_sessions, self.passkeys = PageSessions(engine), Passkeys(engine)
        self.ssh_keys, self.templates, self.blocked = (
            SshKeys(engine),
            Templates(engine),
            BlockedImages(engine),
        )
        self.rentals, self.operations, self.works = Rentals(engine), Operations(engine), Works(engine)
        self.events, self.certificates = LeaseEvents(engine), Certificates(engine)
        self.volumes, self.backups = Volumes(engine), Backups(engine)
        self.webhooks, self.money, self.health = Webhooks(engine), Money(engine), LeaseHealth(engine)


class Desk:
    """What lives as long as the app: tables, buckets, and the threads that talk to machines."""

    def __init__(self, market: Market) -> None:
        self.market, self.stores = market, Stores(market.engine)
        self.catalogue = Catalogue(market.offers, self.stores.rentals.held, market.clock)
        limits, clock = market.limits, market.clock
        self.per_key = Buckets(limits.per_key, clock)
        self.per_address = Buckets(limits.per_address, clock)
        self.visits = Buckets(limits.per_visitor, clock)
        self.failures = Buckets(limits.failures, clock)
        self.sign_ins = Buckets(limits.sign_ins, clock)
        self.passkey_uses = Buckets(limits.passkeys, clock)
        self.sign_ups = Buckets(limits.sign_ups, clock)
        self.challenges = Challenges(market.now)
        self.streams = Counted(limits.streams_per_key, limits.streams)
        self.renters_streams = Counted(limits.streams_per_renter, limits.streams)
        self.containers = Counted(limits.containers_per_renter, limits.containers_waiting)
        self.followers = Counted(limits.followers_per_renter, limits.followers)
        self.follower_reads = Counted(limits.follower_reads_per_renter, limits.follower_reads)
        self.known_keys = KnownKeys(clock)
        self.quick = QuickOffers(self.catalogue, self.known_keys, self.per_key, market.now)
        self.pulse = Pulse(self.stores.events.last, self._news, self._ended_keys, limits.key_check_s)
        stores = self.stores
        self.samplers = Samplers(market.consoles, stores.rentals, stores.health, limits.sampling, market.now)
        self.board = Board(market.engine, market.clock)
        self.miners = Miners(market.engine, self.board, market.policy, market.clock)
        self.estimates = Estimates(market.engine, market.policy, Buckets(limits.estimates, clock))
        self.affairs = Affairs(market.engine, self.board, market.now, market.clock)
        self.charts = Drawn(market.charts, market.clock)
        self.orchestrations = Asking(
            market.orchestration, orchestration.failed, orchestration.FRESH_S, market.clock
        )
        self.chain_rows = Asking(market.chain_rows, chain_asking.failed, chain_asking.FRESH_S, market.clock)
        self.threads = ThreadPoolExecutor(limits.containers_at_once, thread_name_prefix="containers")

    def _news(self, after: int) -> News:
        found = self.stores.events.owners(after, NEWS)
        return News(found[-1][0] if found else after, frozenset(renter_id for _, renter_id in found))

    def _ended_keys(self, key_ids: Iterable[str]) -> dict[str, str]:
        """Why those of these keys that open nothing any more don't."""
        states = {key_id: self._why_ended(key_id) for key_id in key_ids}
        return {key_id: why for key_id, why in states.items() if why}

    def _why_ended(self, key_id: str) -> str:
        found = self.stores.renters.key(key_id)
        return ended(found[0], self.market.now()) if found else "the API key is gone"

    def close(self) -> None:
        """Let the threads end; what runs in them has a deadline of its own."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.orchestrations.close()
        self.chain_rows.close()
        self.charts.close()
        self.estimates.close()
