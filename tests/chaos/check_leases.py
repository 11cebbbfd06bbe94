"""Of leases, when everything has settled: each is well or over with a reason, its machine has just what is its, and its money is right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from storage.claims import Claims
from storage.convert import record_of
from storage.database import reading
from storage.lease_events import LeaseEvents
from storage.money import Money
from storage.operations import Operations
from storage.rental import LeaseEvent, OperationState, Rental, RentalState, Volume, VolumeState
from storage.rentals import Rentals
from storage.renters import Renters
from storage.tables import entries, operations, rentals, transfers, volumes
from storage.works import Works
from tasks.renting.containers import VOLUME_LABEL, volume_name
from tasks.renting.metering import cost_micro_usd
from tasks.renting.money import renter as account_of
from tasks.renting.moves import CLOSED
from tests.chaos.found import Check, check
from tests.chaos.renters import Renter
from tests.chaos.watching import Running, Watcher, containers, docker

SETTLED = frozenset({RentalState.ACTIVE, RentalState.STOPPED, *CLOSED})
TOLERANCE_S = 2
MANY = 100_000


def all_rentals(engine: sa.Engine) -> tuple[Rental, ...]:
    """Every lease, open or over."""
    with reading(engine) as connection:
        return tuple(record_of(Rental, row) for row in connection.execute(sa.select(rentals)).mappings())


def check_wanted(engine: sa.Engine, renters: Iterable[Renter]) -> Check:
    """Every lease that was asked for is one, once, and is active, stopped, or over with a reason."""
    every = all_rentals(engine)
    by_key: dict[tuple[str, str], list[Rental]] = defaultdict(list)
    for lease in every:
        by_key[lease.renter_id, lease.idempotency_key].append(lease)
    wrong = [
        f"{one.name} asked for a lease by {key}: there are {len(by_key[one.name, key])}"
        for one in renters
        for key in one.wanted
        if len(by_key[one.name, key]) != 1
    ]
    wrong += [
        f"lease {r.lease_id} is {r.state}, since {r.moved_at:%H:%M:%S}: {r.reason}"
        for r in every
        if r.state not in SETTLED
    ]
    wrong += [
        f"lease {r.lease_id} is {r.state} and nobody says why"
        for r in every
        if r.state in CLOSED and not r.reason
    ]
    return check("a lease is well, or over with a reason", len(every), "leases", wrong)


def check_operations(engine: sa.Engine) -> Check:
    """Each is done, or failed with a reason; nothing waits for a worker, and nobody holds a claim."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(operations)).mappings().all()
    wrong = [
        f"operation {r['operation_id']} ({r['kind']} of {r['lease_id']}) is {r['state']}: {r['reason']}"
        for r in rows
        if r["state"] not in {OperationState.DONE, OperationState.FAILED}
        or (r["state"] == OperationState.FAILED and not r["reason"])
    ]
    wrong += [
        f"work {w.work_id} ({w.kind} of {w.subject}) waits to be started" for w in Works(engine).unstarted()
    ]
    return check("an operation is done, or failed with a reason", len(rows), "operations", wrong)


def check_not_twice(watcher: Watcher) -> Check:
    """At every look no card was two leases', in our rows or in what really ran."""
    looks = watcher.looks + watcher.engine_looks
    return check("no card is leased twice", looks, "looks", sorted(watcher.wrong))


def check_sequence(engine: sa.Engine) -> Check:
    """What happened is numbered without gaps, and each lease moved as leases may."""
    told = LeaseEvents(engine).after(0, limit=MANY)
    wrong = (
        []
        if [e.sequence for e in told] == list(range(1, len(told) + 1))
        else ["events are not numbered 1, 2, 3"]
    )
    return check("nothing that happened is missing", len(told), "lease events", wrong)


def check_machines(engine: sa.Engine, host: str) -> Check:
    """On machines there is a container for each lease that stands, running or stopped, a volume for each kept one, and nothing else."""
    found = containers(host)
    if found is None:
        return check(
            "machines have what leases have", 0, "containers", ["the container engine does not answer"]
        )
    wrong = list(strays(found, all_rentals(engine)))
    listed = docker(host, "volume", "ls", "--quiet", "--filter", f"label={VOLUME_LABEL}") or ""
    with reading(engine) as connection:
        kept = [record_of(Volume, row) for row in connection.execute(sa.select(volumes)).mappings()]
    wrong += stray_volumes(listed.split(), kept)
    wrong += [
        told for one in found if one.is_running for told in strange_keys(one, all_rentals(engine), host)
    ]
    return check("machines have what leases have", len(found) + len(kept), "containers and volumes", wrong)


def strays(found: Sequence[Running], leases: Sequence[Rental]) -> Iterator[str]:
    """Containers without a lease, leases without their container, and such as run or stand against their lease's state."""
    by_name = {one.name: one for one in found}
    wanted = {r.access.container: r for r in leases if r.state not in CLOSED and r.access is not None}
    for name in sorted(by_name.keys() - wanted.keys()):
        yield f"container {name} is of no lease that stands"
    for name, lease in sorted(wanted.items()):
        one = by_name.get(name)
        if one is None:
            yield f"lease {lease.lease_id} is {lease.state}, and its container {name} is not there"
        elif one.is_running != (lease.state is RentalState.ACTIVE):
            yield f"lease {lease.lease_id} is {lease.state}, and its container is {'running' if one.is_running else 'not running'}"


def stray_volumes(found: Iterable[str], kept: Iterable[Volume]) -> Iterator[str]:
    """Volumes on machines that nobody has, and such as were made and are gone."""
    there = set(found)
    wanted = {volume_name(v.renter_id, v.name, v.executor_key): v for v in kept if v.executor_key}
    for name in sorted(there - wanted.keys()):
        yield f"volume {name} is nobody's"
    for name, volume in sorted(wanted.items()):
        if volume.state is VolumeState.DOOMED:
            yield f"volume {volume.renter_id}/{volume.name} was to be wiped and was not"
        elif volume.state is VolumeState.KEPT and name not in there:
            yield f"volume {volume.renter_id}/{volume.name} is gone from its machine"


def strange_keys(one: Running, leases: Sequence[Rental], host: str) -> Iterator[str]:
    """Keys that a container lets in and its renter has not given, or the other way round."""
    lease = next((r for r in leases if r.lease_id == one.lease_id), None)
    told = docker(host, "exec", one.name, "/opt/subnet/busybox", "cat", "/root/.ssh/authorized_keys")
    if lease is None or told is None:
        return
    has = {line.split()[1] for line in told.splitlines() if line.startswith("ssh-")}
    given = {line.split()[1] for line in lease.pod.public_keys}
    if has != given:
        yield f"container {one.name} lets in {len(has - given)} keys that nobody gave, and lacks {len(given - has)}"


def check_ledger(engine: sa.Engine) -> Check:
    """The ledger is even to the micro-USD, nobody owes, and each renter has what was put in less what its leases came to."""
    money = Money(engine)
    books = money.books()
    wrong = (
        []
        if books.is_even
        else [f"the ledger is off by {books.micro_usd} micro-USD, {books.rao} rao, in {books.uneven[:5]}"]
    )
    sides: dict[str, int] = defaultdict(int)
    leases = all_rentals(engine)
    for lease in leases:
        for line in money.bill(lease.lease_id):
            sides[line.account] += line.micro_usd
        left = money.balance(f"escrow:{lease.lease_id}")
        if lease.state in CLOSED and left:
            wrong.append(f"lease {lease.lease_id} is over, and its escrow has {left} micro-USD")
    balances = money.balances()
    for renter in Renters(engine).all():
        account = account_of(renter.renter_id)
        given = granted_to(engine, account)
        if balances.get(account, 0) != given + sides[account]:
            wrong.append(f"{account} has {balances.get(account, 0)}: given {given}, leases {sides[account]}")
    return check("the ledger is even", books.entries, "entries", wrong)


def granted_to(engine: sa.Engine, account: str) -> int:
    """What an account got beside its leases, by the ledger's lines alone."""
    query = (
        sa.select(sa.func.coalesce(sa.func.sum(entries.c.micro_usd), 0))
        .select_from(entries.join(transfers, transfers.c.transfer_id == entries.c.transfer_id))
        .where(entries.c.account == account, transfers.c.lease_id == "")
    )
    with reading(engine) as connection:
        return int(connection.execute(query).scalar_one())


def check_charges(engine: sa.Engine, now: datetime) -> Check:
    """A renter is charged for the seconds between hand-over, stop, start and end, and for nothing else."""
    events, money = LeaseEvents(engine), Money(engine)
    by_lease: Mapping[str, list[LeaseEvent]] = defaultdict(list)
    for event in events.after(0, limit=MANY):
        by_lease[event.lease_id].append(event)
    wrong = []
    leases = all_rentals(engine)
    for lease in leases:
        had_s = seconds_with_machine(by_lease[lease.lease_id], now)
        most = lease.micro_usd_per_hour * (had_s + TOLERANCE_S) / 3_600 + 1
        charged = -sum(
            line.micro_usd
            for line in money.bill(lease.lease_id)
            if line.account == account_of(lease.renter_id)
        )
        if charged > most:
            wrong.append(
                f"lease {lease.lease_id} had its machine for {had_s:.0f} s, and is charged {charged}, not {most:.0f}"
            )
        if lease.state in CLOSED and lease.ended_at is not None:
            cost = cost_micro_usd(lease, lease.ended_at)
            if charged > cost:
                wrong.append(f"lease {lease.lease_id} costs {cost}, and is charged {charged}")
    return check("nobody pays without a machine", len(leases), "leases", wrong)


def seconds_with_machine(told: Iterable[LeaseEvent], now: datetime) -> float:
    """From each ACTIVE to whatever takes the machine away."""
    since: datetime | None = None
    had = timedelta()
    for event in told:
        if event.kind == "ACTIVE":
            since = since or event.at
        elif since is not None and event.kind in {"STOPPED", "ENDING", "ENDED", "FAILED"}:
            had, since = had + (event.at - since), None
    return (had + (now - since if since else timedelta())).total_seconds()


def open_work(engine: sa.Engine, now: datetime) -> list[str]:
    """What is still going on: empty, everything has settled."""
    moving = [
        f"lease {r.lease_id} is {r.state}"
        for r in Rentals(engine).open()
        if r.state not in SETTLED or r.end_asked_at
    ]
    asked = [f"operation {o.operation_id} is {o.state}" for o in Operations(engine).open()]
    waits = [f"work {w.work_id} waits" for w in Works(engine).unstarted()]
    at_work = [f"somebody works on {s}" for s in Claims(engine).held(now) if s != "watch"]
    return moving + asked + waits + at_work
