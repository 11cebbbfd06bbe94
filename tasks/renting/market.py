"""What all work on leases shares in a process: the outside worlds, the policy, the books, and the ways to machines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from storage.backups import Backups
from storage.belongings import BlockedImages
from storage.certificates import Certificates
from storage.claims import Claims, holder_of
from storage.health import LeaseHealth
from storage.lease_events import LeaseEvents
from storage.money import Money
from storage.operations import Operations
from storage.rentals import Rentals
from storage.runs import this_run
from storage.sealing import Sealer
from storage.snapshots import Snapshots
from storage.state import State
from storage.volumes import Volumes
from storage.works import Works
from tasks.edges.bounded import Bounds
from tasks.edges.knocking import Place, knock
from tasks.edges.shell import EpochKey, Session, Shell
from tasks.edges.signing import is_signed_by, sign_statement
from tasks.epoch import Edges
from tasks.errors import HostAway
from tasks.policy import Policy
from tasks.proof.busy import Notary
from tasks.renting.offering import Offering
from tasks.renting.proving import Surroundings
from tasks.renting.reaching import Doors
from tasks.renting.site import Site, SshSite
from tasks.renting.visiting import Lookout

THREADS = 256
"""Each works on one machine for one lease, and mostly waits."""
T = TypeVar("T")
Enter = Callable[["Market", str, float, Bounds | None, str], Awaitable[Site]]
Knock = Callable[[Place, EpochKey, float], tuple[str, ...]]


class Market:
    """One for a process; a plain class, since Prefect walks through every field of a dataclass."""

    def __init__(
        self,
        edges: Edges,
        policy: Policy,
        sealer: Sealer,
        backup_folder: Path,
        *,
        enter: Enter | None = None,
        knock: Knock | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.edges, self.policy, self.sealer, self.backup_folder = edges, policy, sealer, backup_folder
        self.now = now
        engine = edges.engine
        self.rentals, self.events, self.claims = Rentals(engine), LeaseEvents(engine), Claims(engine)
        self.operations, self.works = Operations(engine), Works(engine)
        self.volumes, self.backups = Volumes(engine), Backups(engine)
        self.certificates, self.blocked = Certificates(engine), BlockedImages(engine)
        self.money, self.health, self.state = Money(engine), LeaseHealth(engine), State(engine)
        self.snapshots = Snapshots(engine)
        self.offering = Offering(engine, policy, self.snapshots)
        self.doors = Doors()
        self._enter, self._knock = enter or enter_by_ssh, knock or _knock
        self.lookout = Lookout(
            engine,
            edges.own_hotkey,
            policy.renting,
            enter=self.enter,
            call=self.call,
            now=now,
        )
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="lease")

    def new_holder(self) -> str:
        """A name under which one piece of work holds its claims."""
        return holder_of(this_run())

    async def call(self, function: Callable[[], T]) -> T:
        """Run what blocks in a thread of ours."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def enter(
        self,
        executor_key: str,
        limit_s: float | None = None,
        bounds: Bounds | None = None,
        *,
        lease_id: str = "",
    ) -> Site:
        """A machine, entered for a lease; HostAway, EngineAway and the like when it can't be.

        `bounds`: wider ones, for much data. Without a lease no engine answers where a machine confines who comes.
        """
        return await self._enter(self, executor_key, limit_s or self.policy.renting.enter_s, bounds, lease_id)

    def knock(self, place: Place, key: EpochKey, deadline: float) -> tuple[str, ...]:
        """What a renter finds who logs in there; it blocks."""
        return self._knock(place, key, deadline)

    def close(self) -> None:
        """Start nothing more."""
        self.lookout.leave_all_but(())
        self._pool.shutdown(wait=False, cancel_futures=True)


async def enter_by_ssh(
    market: Market, executor_key: str, limit_s: float, bounds: Bounds | None = None, lease_id: str = ""
) -> SshSite:
    """A machine behind its miner's door; a key that it has forgotten is asked for anew, once."""
    deadline = time.monotonic() + limit_s
    edges = market.edges
    shell = edges.shell if bounds is None else _wider(edges.shell, bounds)
    snapshot = await market.call(market.snapshots.newest)
    for attempt in (1, 2):
        way = await market.doors.way(snapshot, edges.peers, shell, executor_key, lease_id)
        site = SshSite(replace(way, shell=shell), partial(_surroundings, market))
        try:
            await market.call(partial(site.enter, deadline))
        except HostAway as error:
            site.close()
            if attempt == 2 or error.phase != "auth":
                raise
            market.doors.forget(executor_key, lease_id)
        except BaseException:
            site.close()
            raise
        else:
            return site
    raise AssertionError("unreachable: the second attempt returns or raises")


def _wider(shell: Shell, bounds: Bounds) -> Shell:
    return Shell(replace(shell.settings, bounds=bounds), shell.pacer)


def _surroundings(market: Market, open_session: Callable[[float], Session]) -> Surroundings:
    edges = market.edges
    return Surroundings(
        open_session=open_session,
        claims=market.claims,
        holder=market.new_holder(),
        notary=Notary(
            sign=partial(sign_statement, edges.peers.signer),
            is_signed_by=is_signed_by,
            permitted=_permitted(market),
            now=time.time,
        ),
        own_hotkey=edges.own_hotkey,
        policy=market.policy,
    )


def _permitted(market: Market) -> frozenset[str]:
    snapshot = market.snapshots.newest()
    neurons = snapshot.neurons.values() if snapshot else ()
    return frozenset(neuron.hotkey for neuron in neurons if neuron.has_permit)


def _knock(place: Place, key: EpochKey, deadline: float) -> tuple[str, ...]:
    return knock(place, key, deadline=deadline)
