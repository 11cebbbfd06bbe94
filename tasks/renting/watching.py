"""A round of watching: every machine that has open leases is looked at, and what follows for each lease is done.

    look -> keep what was found -> charge -> judge -> act -> settle

A machine is attended to by itself: one that answers late, or not at all, costs only itself. Who acts looks again whether
the lease still stands as it was judged; what is asked for is asked under a name, so that the next round asks nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from storage.claims import Claims, holder_of
from storage.errors import StorageError
from storage.health import Health, LeaseHealth, Metric
from storage.money import Money
from storage.operations import Operations
from storage.rental import (
    Happening,
    Offer,
    Operation,
    OperationKind,
    OperationState,
    Rental,
    RentalState,
)
from storage.rentals import Rentals
from storage.renter import Renter, RenterState
from storage.renters import Renters
from storage.runs import this_run
from tasks.errors import SubnetError
from tasks.policy import RentingPolicy
from tasks.renting.asking import OF_RULE, ask_end, ask_operation, change, new_name
from tasks.renting.limits import Funds, Step, StepKind, Usage, idle_after, judge
from tasks.renting.looking import Found
from tasks.renting.metering import burn_micro_usd_per_hour, unposted_micro_usd
from tasks.renting.money import metered
from tasks.renting.money import renter as account_of
from tasks.renting.moves import noted
from tasks.renting.offering import demand_of
from tasks.renting.preempting import give_notice, outbid
from tasks.renting.pricing import Demand
from tasks.renting.settling import settle

_log = logging.getLogger("subnet.watch")
CLAIM = "watch"
CLAIM_S = 60
"""A round is shorter; one that was killed is taken over after it."""
MARGIN_S = 2.0
"""Beside the look's own deadline, for what comes before and after it."""
AGAIN_S = 300
OVERDUE_S = 3_600
"""A lease that could not be stopped for so long is ended: nobody pays for ever for what does not obey."""
STANDING = frozenset({RentalState.ACTIVE, RentalState.STOPPED})
MANY_OPERATIONS = 10_000
MANY = 3
"""Of fewer machines than this nobody can tell whether they are away, or we are."""

Looked = tuple[tuple[Rental, ...], Mapping[str, Found] | None]
"""The leases of a machine, and what was found of them; None: the machine did not tell in time."""
LookAt = Callable[[str, tuple[Rental, ...]], Awaitable[Mapping[str, Found]]]
"""A machine's key and its leases: what is found of each by the look's deadline."""


@dataclass(frozen=True, slots=True)
class Stores:
    """What a round reads and writes."""

    engine: sa.Engine
    rentals: Rentals
    operations: Operations
    money: Money
    health: LeaseHealth
    claims: Claims

    @classmethod
    def of(cls, engine: sa.Engine) -> Stores:
        """All over one database."""
        return cls(
            engine, Rentals(engine), Operations(engine), Money(engine), LeaseHealth(engine), Claims(engine)
        )


class Round:
    """One round: what it saw at its begin. A plain class, since Prefect walks through every field of a dataclass."""

    def __init__(
        self,
        stores: Stores,
        policy: RentingPolicy,
        clock: Callable[[], datetime],
        look_at: LookAt,
        holder: str,
    ) -> None:
        self.stores, self.policy, self.clock, self.look_at, self.holder = (
            stores,
            policy,
            clock,
            look_at,
            holder,
        )
        # From before the leases are loaded: what is charged up to it is never beyond an end that is asked for meanwhile.
        self.now = clock()
        self.leases = stores.rentals.open()
        self.healths = stores.health.all(lease.lease_id for lease in self.leases)
        self._of_renter: dict[str, list[Rental]] = defaultdict(list)
        for lease in self.leases:
            self._of_renter[lease.renter_id].append(lease)
        renters = set(self._of_renter)
        self.renters = {
            one.renter_id: one for one in Renters(stores.engine).all() if one.renter_id in renters
        }
        self.balances, self.metered = stores.money.standing(
            map(account_of, sorted(renters)), [lease.lease_id for lease in self.leases]
        )
        self.busy = stores.claims.held(self.now) | {op.lease_id for op in stores.operations.open()}
        self.are_we_away = are_we_away(self.machines, self.healths)

    @property
    def machines(self) -> dict[str, tuple[Rental, ...]]:
        """The machines that are looked at, with their leases."""
        found: dict[str, list[Rental]] = defaultdict(list)
        for lease in self.leases:
            if lease.state in STANDING and lease.end_asked_at is None and lease.executor_key:
                found[lease.executor_key].append(lease)
        return {key: tuple(own) for key, own in found.items()}

    def funds(self, renter_id: str, now: datetime) -> Funds:
        """What a renter has at a moment: its balance less what runs unposted."""
        own = self._of_renter[renter_id]
        unposted = sum(unposted_micro_usd(lease, self.metered.get(lease.lease_id, 0), now) for lease in own)
        burn = sum(burn_micro_usd_per_hour(lease, now) for lease in own)
        grace_until, reason = _stop_of(self.renters.get(renter_id))
        return Funds(self.balances[account_of(renter_id)] - unposted, burn, grace_until, reason)


def begin(
    engine: sa.Engine, policy: RentingPolicy, clock: Callable[[], datetime], look_at: LookAt
) -> Round | None:
    """A round of our own; None when another is at it."""
    stores, holder, now = Stores.of(engine), holder_of(this_run()), clock()
    if not stores.claims.take(CLAIM, holder, now + timedelta(seconds=CLAIM_S), now):
        return None
    return Round(stores, policy, clock, look_at, holder)


def finish(run: Round) -> None:
    """Let the next round begin, and forget what metrics are too old for."""
    policy = run.policy
    run.stores.health.thin(run.now, policy.metrics_fine_s, policy.metrics_minutes_s, policy.metrics_hours_s)
    run.stores.claims.release(CLAIM, run.holder)


async def attend_all(run: Round) -> dict[str, Step]:
    """Attend to every machine, many at once; what was done about each lease.

    What has come in while the last ones were followed up is followed up together: a thousand machines that answer at once
    cost a few transactions, and one that is late is nobody's concern.
    """
    turns = asyncio.Semaphore(run.policy.looks_at_once)
    done: dict[str, Step] = {}
    come: asyncio.Queue[Looked] = asyncio.Queue()

    async def in_turn(executor_key: str, leases: tuple[Rental, ...]) -> None:
        async with turns:
            found = await _looked(run, executor_key, leases)
        come.put_nowait((leases, found))

    machines = run.machines
    with ThreadPoolExecutor(1, thread_name_prefix="watch") as pool:
        async with asyncio.TaskGroup() as looks:
            for key, leases in machines.items():
                looks.create_task(in_turn(key, leases))
            left = len(machines)
            while left:
                batch = [await come.get()]
                while not come.empty():
                    batch.append(come.get_nowait())
                left -= len(batch)
                loop = asyncio.get_running_loop()
                done.update(await loop.run_in_executor(pool, _follow_up, run, batch))
    return done


async def _looked(run: Round, executor_key: str, leases: tuple[Rental, ...]) -> Mapping[str, Found] | None:
    """What the machine told of its leases; None when it did not in time."""
    try:
        async with asyncio.timeout(run.policy.look_deadline_s + MARGIN_S):
            return await run.look_at(executor_key, leases)
    except (SubnetError, TimeoutError) as error:
        _log.warning("%s could not be looked at: %s", executor_key, error or "it took too long")
        return None
    except Exception:  # noqa: BLE001  whatever a machine's answer breaks costs only itself, never the round
        _log.exception("%s could not be looked at", executor_key)
        return None


def _follow_up(run: Round, batch: Sequence[Looked]) -> dict[str, Step]:
    """Everything that follows for the leases of these machines; trouble with one lease costs no other."""
    now, done = run.clock(), {}
    looks: list[tuple[Rental, Health]] = []
    metrics: list[Metric] = []
    for leases, found in batch:
        for lease in leases:
            told = None if found is None else found.get(lease.lease_id)
            before, is_busy = run.healths.get(lease.lease_id), lease.lease_id in run.busy
            health, metric = after_look(lease, before, told, now, run.policy, is_busy=is_busy)
            looks.append((lease, health))
            metrics += [] if metric is None else [metric]
    looks = _charged(run, looks)
    run.stores.health.save([health for _, health in looks], metrics)
    for lease, health in looks:
        try:
            done[lease.lease_id] = _judged(run, lease, health, now)
        except (SubnetError, StorageError):
            _log.exception("%s: the round goes on without it", lease.lease_id)
    return done


def _charged(run: Round, looks: Sequence[tuple[Rental, Health]]) -> list[tuple[Rental, Health]]:
    """What is known of the leases, once those are charged for which it is time.

    What was metered is known from the round's begin: where somebody has charged since, the name of ours is taken.
    """
    due = {
        lease.lease_id: lease
        for lease, health in looks
        if is_due(health.metered_at, run.now, run.policy.meter_every_s)
    }
    ppm = run.policy.platform_ppm
    charges = (metered(lease, run.metered.get(name, 0), run.now, ppm) for name, lease in due.items())
    run.stores.money.post_all(charge for charge in charges if charge is not None)
    return [
        (lease, replace(health, metered_at=run.now) if lease.lease_id in due else health)
        for lease, health in looks
    ]


def _judged(run: Round, lease: Rental, health: Health, now: datetime) -> Step:
    """What is due for a lease, done."""
    away_since = None if run.are_we_away else health.away_since
    usage = Usage(health.idle_since, health.dead, health.dead_looks, away_since)
    step = judge(lease, usage, run.funds(lease.renter_id, now), now, run.policy)
    if step.kind is not StepKind.NOTHING:
        act(run.stores, lease, step, now, run.policy)
    return step


def after_look(
    lease: Rental,
    before: Health | None,
    found: Found | None,
    now: datetime,
    policy: RentingPolicy,
    *,
    is_busy: bool,
) -> tuple[Health, Metric | None]:
    """What is known of a lease after a look, and the sample to keep. Pure.

    `is_busy`: somebody stops, starts or replaces its container just now: that it is found dead means nothing.
    A gap in which nobody looked ends what was counted on: nobody knows what was in it.
    """
    last = before or Health(lease.lease_id, now)
    looked_at = before.looked_at if before else None
    if now - last.looked_at > timedelta(seconds=policy.away_s):
        last = replace(last, idle_since=None, dead="", dead_looks=0, away_since=None)
        looked_at = None
    well_at = last.well_at
    if lease.paid_from is not None:
        well_at = max(well_at or lease.paid_from, min(lease.paid_from, now))
    if found is None:
        return replace(
            last,
            looked_at=now,
            well_at=well_at,
            idle_since=None,
            away_since=last.away_since or now,
        ), None
    is_dead = bool(found.dead) and not is_busy and lease.state is RentalState.ACTIVE
    idle_since = idle_after(last.idle_since, found.gpu_percent, lease, now, looked_at)
    metric = sample(lease, found, now)
    return Health(
        lease_id=lease.lease_id,
        looked_at=now,
        well_at=well_at if found.dead else now,
        idle_since=idle_since if lease.state is RentalState.ACTIVE else None,
        dead=found.dead if is_dead else "",
        dead_looks=last.dead_looks + 1 if is_dead else 0,
        away_since=None,
        metered_at=last.metered_at,
        sampled_at=last.sampled_at if metric is None else now,
    ), metric


def sample(lease: Rental, found: Found, now: datetime) -> Metric | None:
    """What is kept of a look; None where there is nothing to keep."""
    if found.dead or lease.state is not RentalState.ACTIVE or not (found.cards or found.stats):
        return None
    used = found.stats
    if used is None:
        return Metric(lease.lease_id, now, found.cards)
    return Metric(
        lease_id=lease.lease_id,
        at=now,
        cards=found.cards,
        cpu_percent=used.cpu_percent,
        memory_bytes=used.memory_bytes,
        memory_limit_bytes=used.memory_limit_bytes,
        received_bytes=used.received_bytes,
        sent_bytes=used.sent_bytes,
        read_bytes=used.read_bytes,
        written_bytes=used.written_bytes,
        pids=used.pids,
    )


def act(stores: Stores, lease: Rental, step: Step, now: datetime, policy: RentingPolicy) -> None:
    """Do what is due, if the lease still stands as it was judged; else the next round judges it anew."""
    present = stores.rentals.get(lease.lease_id)
    if present is None or present.version != lease.version:
        return
    match step.kind:
        case StepKind.END:
            _end(stores, lease, step, now, policy)
        case StepKind.STOP:
            past = stores.operations.of_lease(lease.lease_id, newest=MANY_OPERATIONS)
            if is_overdue(past, now):
                told = replace(step, reason=f"{step.reason}, and it could not be stopped")
                _end(stores, lease, told, now, policy)
            elif not any(op.kind is OperationKind.STOP for op in stores.operations.open(lease.lease_id)):
                ask_operation(stores.operations, lease, stop_of(lease, step, now))
        case StepKind.WARN:
            _note(stores, lease, now, Happening("BALANCE_LOW", step.reason), warned_at=now)
        case StepKind.CALM:
            _note(stores, lease, now, Happening("BALANCE_ENOUGH", step.reason), warned_at=None)
        case _:
            pass


def is_overdue(past: Iterable[Operation], now: datetime) -> bool:
    """Whether the stops that rules ask for have failed, one after the other, for too long. Pure; `past`: newest first.

    Only tries count: while nobody can do what is asked for, as with no worker, nothing is held against the lease.
    """
    since, last = now, now
    for operation in past:
        if operation.kind is not OperationKind.STOP or not operation.idempotency_key.startswith(OF_RULE):
            continue
        is_gap = last - operation.asked_at > timedelta(seconds=3 * AGAIN_S)
        if operation.state is OperationState.DONE or is_gap:
            break
        last = operation.asked_at
        since = last if operation.state is OperationState.FAILED else since
    return now - since >= timedelta(seconds=OVERDUE_S)


def stop_of(lease: Rental, step: Step, now: datetime) -> Operation:
    """The stop that a rule asks for: one for each version of the lease; after one that failed another, some minutes later."""
    return Operation(
        operation_id=new_name("op"),
        lease_id=lease.lease_id,
        idempotency_key=f"{OF_RULE}{lease.version} {int(now.timestamp()) // AGAIN_S}",
        kind=OperationKind.STOP,
        state=OperationState.ASKED,
        asked_at=now,
        reason=step.reason,
    )


def notice_outbid(run: Round, offers: Iterable[Offer], held: Mapping[str, str]) -> tuple[str, ...]:
    """Give a notice to every spot lease that the going price has risen above the bid of; their names."""
    by_key, told = {offer.executor_key: offer for offer in offers}, []
    demand = demand_of(by_key.values(), held)
    for lease in run.leases:
        offer = by_key.get(lease.executor_key)
        if offer is None or lease.notice_until is not None or lease.end_asked_at is not None:
            continue
        if outbid(lease, offer, demand.get(offer.model, Demand()), run.policy):
            reason = "the going spot price is above its bid"
            give_notice(run.stores.rentals, lease, run.clock(), run.policy, reason)
            told.append(lease.lease_id)
    return tuple(told)


def settle_open_ends(run: Round) -> tuple[str, ...]:
    """Settle again what is being ended, and what a lease that is over has left in its escrow: whoever was killed before."""
    stores, now, done = run.stores, run.clock(), []
    ends = [lease for lease in run.leases if lease.end_asked_at is not None or lease.ended_at is not None]
    left = [name.partition(":")[2] for name in stores.money.left_in("escrow:")]
    over = [lease for lease in map(stores.rentals.get, left) if lease is not None]
    for lease in (*ends, *(one for one in over if one.ended_at is not None)):
        settle(stores.money, stores.health, lease, now, run.policy)
        done.append(lease.lease_id)
    return tuple(done)


def are_we_away(machines: Mapping[str, tuple[Rental, ...]], healths: Mapping[str, Health]) -> bool:
    """Whether so many machines gave no answer in the last round that it is our own way out that is broken. Pure."""
    away = sum(
        any((known := healths.get(lease.lease_id)) and known.away_since for lease in leases)
        for leases in machines.values()
    )
    return len(machines) >= MANY and away * 2 > len(machines)


def is_due(last: datetime | None, now: datetime, every_s: int) -> bool:
    """Whether it is time again."""
    return last is None or now - last >= timedelta(seconds=every_s)


def _end(stores: Stores, lease: Rental, step: Step, now: datetime, policy: RentingPolicy) -> None:
    """Have it ended, and settle it: nothing is paid from here on, whatever its machine does."""
    ended = ask_end(stores.rentals, lease.lease_id, now, step.party, step.reason)
    if ended is not None:
        settle(stores.money, stores.health, ended, now, policy)


def _note(
    stores: Stores, lease: Rental, now: datetime, told: Happening, *, warned_at: datetime | None
) -> None:
    def rule(one: Rental) -> Rental:
        return noted(one, now, warned_at=warned_at) if one.version == lease.version else one

    change(stores.rentals, lease.lease_id, rule, [told])


def _stop_of(renter: Renter | None) -> tuple[datetime | None, str]:
    if renter is None or renter.state is not RenterState.STOPPED:
        return None, ""
    return renter.grace_until, renter.reason
