"""What an operator has to know: what goes wrong, what waits, how we stand on the chain; read from the state at most once in two seconds.

Affairs(engine, board).look() -> Overview
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from deployments.marketplace.board import Board
from storage import tables
from storage.convert import record_of
from storage.database import reading
from storage.records import EpochState, Landing, LandingState, Neuron, Reason, WeightStatus
from storage.rental import OperationState, Party, RentalState
from storage.rentals import OPEN
from storage.snapshots import Snapshot

FRESH_S = 2.0
EPOCHS = 48
EACH = 20
"""Troubles of one kind that are told; of more, that there are more."""
LOOKS_BACK = timedelta(hours=24)
STANDS_STILL = timedelta(minutes=15)
EPOCH_SILENT = timedelta(minutes=5)
EPOCH_DUE = timedelta(minutes=30)
WORK_WAITS = timedelta(seconds=60)
_MOVING = tuple(
    state.value
    for state in (RentalState.REQUESTED, RentalState.RESERVED, RentalState.PROVISIONING, RentalState.ENDING)
)
_OURS = (Party.MACHINE.value, Party.PLATFORM.value)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One incident."""

    at: datetime
    code: str
    subject: str
    """The epoch, lease, operation, machine or source."""
    text: str
    mend: str
    is_on: bool
    """It goes on now; else it has happened."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Things of one kind that wait or are at work."""

    what: str
    count: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class OnChain:
    """How the validator stands on the chain, as its epochs and its weights know it."""

    netuid: int
    hotkey: str
    block: int
    """Pinned by the newest epoch."""
    seen_at: datetime
    neuron: Neuron | None
    """None: the last finished epoch did not find it registered."""
    weights_epoch: int | None
    """The newest epoch that wanted to set any."""
    status: WeightStatus | None
    code: str
    set_epoch: int | None
    """The newest whose weights the chain has taken."""
    set_block: int | None
    landing: Landing | None
    """The newest that was followed."""
    deposits_block: int | None
    """Read for deposits."""
    unread_blocks: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at one moment."""

    troubles: tuple[Trouble, ...]
    """Those that go on first, the newest first."""
    waiting: tuple[Waiting, ...]
    leases: tuple[tuple[str, int], ...]
    """Open ones by their state."""
    chain: OnChain | None
    """None: there was no epoch yet."""
    epoch: int | None
    """The last finished one, and its machines by what came of them."""
    verdicts: tuple[tuple[str, int], ...]


class Affairs:
    """Reads it; safe for threads."""

    def __init__(
        self,
        engine: sa.Engine,
        board: Board,
        now: Callable[[], datetime],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._engine, self._board, self._now, self._clock = engine, board, now, clock
        self._lock = threading.Lock()
        self._seen: Overview | None = None
        self._seen_at = float("-inf")

    def look(self) -> Overview:
        """As it was within the last two seconds."""
        with self._lock:
            if self._seen is None or self._clock() - self._seen_at >= FRESH_S:
                self._seen, self._seen_at = self._read(), self._clock()
            return self._seen

    def _read(self) -> Overview:
        now, snapshot = self._now(), self._board.snapshot()
        with reading(self._engine) as connection:
            troubles = [found for find in _FINDERS for found in find(connection, now)]
            troubles.sort(key=lambda one: (not one.is_on, -one.at.timestamp()))
            return Overview(
                troubles=tuple(troubles),
                waiting=tuple(_waiting(connection)),
                leases=_leases(connection),
                chain=_chain(connection, snapshot),
                epoch=snapshot.epoch if snapshot else None,
                verdicts=_verdicts(snapshot),
            )


# --- troubles ----------------------------------------------------------------------------------------


def _epochs(connection: sa.Connection, now: datetime) -> Iterator[Trouble]:
    """Abandoned ones, one that stands still, none for long, and what went wrong within them."""
    table = tables.epochs.c
    query = (
        sa.select(table.epoch, table.state, table.started_at, table.touched_at, table.incidents)
        .order_by(table.epoch.desc())
        .limit(EPOCHS)
    )
    rows = connection.execute(query).all()
    if rows and rows[0].state != EpochState.OPEN.value and now - rows[0].started_at > EPOCH_DUE:
        mend = "see that the deployment `validate` has a schedule and its pool a worker"
        yield Trouble(
            rows[0].started_at,
            "NO_EPOCH",
            f"after epoch {rows[0].epoch}",
            "no epoch has begun since",
            mend,
            is_on=True,
        )
    for row in rows:
        name = f"epoch {row.epoch}"
        if row.state == EpochState.OPEN.value and now - row.touched_at > EPOCH_SILENT:
            text = f"it has written nothing since {row.touched_at:%H:%M:%S} UTC"
            mend = "see its flow run's log; a run that died is taken over by the next one"
            yield Trouble(row.touched_at, "EPOCH_STANDS_STILL", name, text, mend, is_on=True)
        if row.state == EpochState.ABANDONED.value:
            mend = "see its flow run's log; what it had found out is archived"
            yield Trouble(row.touched_at, "EPOCH_ABANDONED", name, "its process died", mend, is_on=False)
        for reason in _REASONS.validate_json(row.incidents)[:EACH]:
            yield Trouble(row.started_at, reason.code, name, reason.got, reason.mend, is_on=False)


def _weights(connection: sa.Connection, now: datetime) -> Iterator[Trouble]:
    """Refused, in doubt, or landed as something else."""
    table, head = tables.weight_sets.c, tables.epochs.c
    bad = (WeightStatus.REFUSED.value, WeightStatus.UNKNOWN.value)
    query = (
        sa.select(table.epoch, table.status, table.code, table.message, head.started_at)
        .join(tables.epochs, head.epoch == table.epoch)
        .where(table.status.in_(bad), head.started_at > now - LOOKS_BACK)
        .order_by(table.epoch.desc())
        .limit(EACH)
    )
    for row in connection.execute(query):
        mend = (
            "see to the cause that the chain names: registration, permit and stake are below"
            if row.status == WeightStatus.REFUSED.value
            else "nothing: the next epoch reads back what has become of them"
        )
        text = f"{row.code}: {row.message}" if row.code else row.message
        yield Trouble(
            row.started_at,
            f"WEIGHTS_{row.status.upper()}",
            f"epoch {row.epoch}",
            text or "",
            mend,
            is_on=False,
        )
    landings = tables.landings.c
    query = (
        sa.select(landings.epoch, landings.difference, head.started_at)
        .join(tables.epochs, head.epoch == landings.epoch)
        .where(landings.state == LandingState.DIFFERS.value, head.started_at > now - LOOKS_BACK)
        .order_by(landings.epoch.desc())
        .limit(EACH)
    )
    for row in connection.execute(query):
        text = f"{row.difference:.1%} of the emission goes elsewhere than meant"
        mend = "see whether another program sets weights with this hotkey, or a reveal failed"
        yield Trouble(row.started_at, "WEIGHTS_DIFFER", f"epoch {row.epoch}", text, mend, is_on=False)


def _rentals(connection: sa.Connection, now: datetime) -> Iterator[Trouble]:
    """Leases that stand still on their way, and those that failed by a machine or by us."""
    table = tables.rentals.c
    columns = (table.lease_id, table.state, table.moved_at, table.reason, table.executor_key, table.party)
    still = sa.select(*columns).where(table.state.in_(_MOVING), table.moved_at < now - STANDS_STILL)
    for row in connection.execute(still.order_by(table.moved_at).limit(EACH)):
        text = f"{row.state} since {row.moved_at:%Y-%m-%d %H:%M} UTC" + _on(row.executor_key)
        mend = "see the flow runs of this name; the watch asks once more for what stands still"
        yield Trouble(row.moved_at, "LEASE_STANDS_STILL", row.lease_id, text, mend, is_on=True)
    failed = sa.select(*columns).where(
        table.state == RentalState.FAILED.value, table.party.in_(_OURS), table.moved_at > now - LOOKS_BACK
    )
    for row in connection.execute(failed.order_by(table.moved_at.desc()).limit(EACH)):
        text = f"{row.reason}{_on(row.executor_key)}; the fault is of the {row.party}"
        yield Trouble(row.moved_at, "LEASE_FAILED", row.lease_id, text, "", is_on=False)


def _operations(connection: sa.Connection, now: datetime) -> Iterator[Trouble]:
    """The same of what renters asked of their leases."""
    table = tables.operations.c
    columns = (table.operation_id, table.kind, table.state, table.asked_at, table.ended_at, table.reason)
    is_open = table.state.in_((OperationState.ASKED.value, OperationState.RUNNING.value))
    still = sa.select(*columns).where(is_open, table.asked_at < now - STANDS_STILL)
    for row in connection.execute(still.order_by(table.asked_at).limit(EACH)):
        text = f"{row.kind}, {row.state} since {row.asked_at:%Y-%m-%d %H:%M} UTC"
        mend = "a copy takes as long as its data are large; of all else see the flow run of this name"
        yield Trouble(row.asked_at, "OPERATION_STANDS_STILL", row.operation_id, text, mend, is_on=True)
    failed = sa.select(*columns).where(
        table.state == OperationState.FAILED.value, table.party.in_(_OURS), table.ended_at > now - LOOKS_BACK
    )
    for row in connection.execute(failed.order_by(table.ended_at.desc()).limit(EACH)):
        yield Trouble(
            row.ended_at, "OPERATION_FAILED", row.operation_id, f"{row.kind}: {row.reason}", "", is_on=False
        )


def _machines(connection: sa.Connection, now: datetime) -> Iterator[Trouble]:
    """Those of open leases that do not answer, or whose container is dead."""
    del now
    health, lease = tables.lease_health.c, tables.rentals.c
    query = (
        sa.select(health.lease_id, health.away_since, health.dead, health.looked_at, lease.executor_key)
        .join(tables.rentals, lease.lease_id == health.lease_id)
        .where(lease.state.in_(OPEN), sa.or_(health.away_since.is_not(None), health.dead != ""))
        .limit(EACH)
    )
    for row in connection.execute(query):
        if row.away_since is not None:
            mend = "see the machine and its network; where most machines are away, our own line"
            text = f"{row.executor_key} gives no answer"
            yield Trouble(row.away_since, "MACHINE_AWAY", row.lease_id, text, mend, is_on=True)
        else:
            text = f"the container is {row.dead}{_on(row.executor_key)}"
            yield Trouble(row.looked_at, "CONTAINER_DEAD", row.lease_id, text, "", is_on=True)


def _works(connection: sa.Connection, now: datetime) -> Iterator[Trouble]:
    """What should have been started long ago."""
    table = tables.works.c
    late = sa.and_(table.flow_run_id == "", table.asked_at < now - WORK_WAITS)
    query = sa.select(sa.func.count(), sa.func.min(table.asked_at)).where(late)
    count, oldest_at = connection.execute(query).one()
    if count:
        mend = "see below whether Prefect answers; `subnet deploy` makes deployments that are missing"
        text = f"{count} works wait for a flow run, the oldest since {oldest_at:%Y-%m-%d %H:%M:%S} UTC"
        yield Trouble(oldest_at, "WORK_WAITS", "starter", text, mend, is_on=True)


def _outside(connection: sa.Connection, now: datetime) -> Iterator[Trouble]:
    """Sources of prices that are silent, webhooks that were given up, deposits that are nobody's."""
    answers = tables.price_answers.c
    query = sa.select(answers.source, answers.asked_at, answers.fault).where(answers.fault != "").limit(EACH)
    for row in connection.execute(query):
        mend = "nothing while other sources answer; else see `subnet prices`"
        yield Trouble(row.asked_at, "PRICE_SOURCE_SILENT", row.source, row.fault, mend, is_on=True)
    hooks = tables.webhooks.c
    dead = sa.select(sa.func.count(), sa.func.max(hooks.disabled_at)).where(
        hooks.disabled_at > now - LOOKS_BACK
    )
    count, newest_at = connection.execute(dead).one()
    if count:
        text = f"{count} webhooks were switched off after days of failures"
        yield Trouble(
            newest_at, "WEBHOOKS_OFF", "webhooks", text, "their renters are told in the API", is_on=False
        )
    deposits = tables.chain_deposits.c
    nobodys = sa.select(sa.func.count(), sa.func.min(deposits.at)).where(deposits.state == "unclaimed")
    count, oldest_at = connection.execute(nobodys).one()
    if count:
        mend = "`subnet market deposits list --unclaimed` shows them, `claim` gives one to its renter"
        yield Trouble(
            oldest_at, "DEPOSIT_UNCLAIMED", "deposits", f"{count} deposits are nobody's", mend, is_on=True
        )


Finder = Callable[[sa.Connection, datetime], Iterable[Trouble]]
_FINDERS: Sequence[Finder] = (_epochs, _weights, _rentals, _operations, _machines, _works, _outside)


def _on(executor_key: str) -> str:
    return f" on {executor_key}" if executor_key else ""


# --- what waits, leases, the chain ----------------------------------------------------------------------


def _waiting(connection: sa.Connection) -> Iterator[Waiting]:
    works, operations, deliveries = tables.works.c, tables.operations.c, tables.deliveries.c
    yield _count(connection, "works without a flow run", works.flow_run_id == "", works.asked_at)
    for state in (OperationState.ASKED, OperationState.RUNNING):
        yield _count(
            connection, f"operations, {state.value}", operations.state == state.value, operations.asked_at
        )
    yield _count(connection, "webhooks' deliveries", deliveries.state == "waiting", deliveries.created_at)


def _count(
    connection: sa.Connection, what: str, which: sa.ColumnElement[bool], at: sa.Column[Any]
) -> Waiting:
    count, oldest_at = connection.execute(sa.select(sa.func.count(), sa.func.min(at)).where(which)).one()
    return Waiting(what, int(count), oldest_at)


def _leases(connection: sa.Connection) -> tuple[tuple[str, int], ...]:
    state = tables.rentals.c.state
    query = sa.select(state, sa.func.count()).where(state.in_(OPEN)).group_by(state)
    found = {str(name): int(count) for name, count in connection.execute(query)}
    return tuple((name, found[name]) for name in OPEN if name in found)


def _chain(connection: sa.Connection, snapshot: Snapshot | None) -> OnChain | None:
    head, sets = tables.epochs.c, tables.weight_sets
    newest = sa.select(head.netuid, head.validator_hotkey, head.block, head.started_at)
    epoch = connection.execute(newest.order_by(head.epoch.desc()).limit(1)).one_or_none()
    if epoch is None:
        return None
    columns = (sets.c.epoch, sets.c.status, sets.c.code, sets.c.block)
    tried = connection.execute(sa.select(*columns).order_by(sets.c.epoch.desc()).limit(1)).one_or_none()
    taken = sa.select(*columns).where(sets.c.status.in_(_TAKEN)).order_by(sets.c.epoch.desc()).limit(1)
    is_set = connection.execute(taken).one_or_none()
    followed = sa.select(tables.landings).order_by(tables.landings.c.epoch.desc()).limit(1)
    landing = connection.execute(followed).mappings().one_or_none()
    unread = connection.execute(sa.select(sa.func.count()).select_from(tables.unread_blocks)).scalar()
    return OnChain(
        netuid=epoch.netuid,
        hotkey=epoch.validator_hotkey,
        block=epoch.block,
        seen_at=epoch.started_at,
        neuron=snapshot.neurons.get(epoch.validator_hotkey) if snapshot else None,
        weights_epoch=tried.epoch if tried else None,
        status=WeightStatus(tried.status) if tried and tried.status else None,
        code=(tried.code or "") if tried else "",
        set_epoch=is_set.epoch if is_set else None,
        set_block=is_set.block if is_set else None,
        landing=record_of(Landing, landing) if landing else None,
        deposits_block=connection.execute(sa.select(sa.func.max(tables.deposit_marks.c.block))).scalar(),
        unread_blocks=int(unread or 0),
    )


def _verdicts(snapshot: Snapshot | None) -> tuple[tuple[str, int], ...]:
    """Machines of the last finished epoch: paid, and by the first reason that costs their pay; the most frequent first."""
    if snapshot is None:
        return ()
    counted = Counter(
        "paid"
        if score.score > 0
        else next((one.code for one in score.reasons if one.decides), "scored 0 without a reason")
        for score in snapshot.scores.values()
    )
    return tuple(counted.most_common(EACH))


_TAKEN = (WeightStatus.CONFIRMED.value, WeightStatus.COMMITTED.value, WeightStatus.ALREADY_SET.value)
_REASONS = TypeAdapter(tuple[Reason, ...])
