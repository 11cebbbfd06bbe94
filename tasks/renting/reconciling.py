"""What stands still is worked on again: after a kill -9, a lost flow run, a machine that was away, a day without Prefect.

A lease's own state says what is to be done with it (`work_for`), whatever happened to the run that was at it; a run that
is alive holds a claim, and is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import sqlalchemy as sa

from storage.claims import Claims
from storage.operations import Operations
from storage.rental import Operation, Rental, RentalState, Work, WorkKind
from storage.rentals import Rentals
from storage.works import Works
from tasks.renting.asking import work_of, work_on_operation

QUIET = timedelta(seconds=60)
"""Asked again at most so often, and the less often the longer it has been tried: a machine may be away for a day."""
QUIET_MOST = timedelta(minutes=15)
QUIET_PART = 10
"""Of the time since the lease last moved."""

_PROVISIONED = frozenset({RentalState.REQUESTED, RentalState.RESERVED, RentalState.PROVISIONING})


def reconcile(engine: sa.Engine, now: datetime) -> tuple[Work, ...]:
    """Ask again for the work on every lease that nobody works on; what was asked for."""
    at_work, works = Claims(engine).held(now), Works(engine)
    operations = _oldest_of_leases(Operations(engine).open())
    asked = []
    for rental in Rentals(engine).open():
        if rental.lease_id in at_work:
            continue
        work = work_for(rental, operations.get(rental.lease_id), now)
        if work is not None and works.again(work, now - quiet_for(rental, now)):
            asked.append(work)
    return tuple(asked)


def try_waiting(engine: sa.Engine, now: datetime) -> tuple[Work, ...]:
    """Ask at once for the work on every request that waits for cards, since some have become free; what was asked for."""
    at_work, works = Claims(engine).held(now), Works(engine)
    waiting = (one for one in Rentals(engine).open() if one.state is RentalState.REQUESTED)
    wanted = [work_of(WorkKind.RENT, one.lease_id, now) for one in waiting if one.lease_id not in at_work]
    return tuple(work for work in wanted if works.again(work, now))


def work_for(rental: Rental, operation: Operation | None, now: datetime) -> Work | None:
    """What is to be done with a lease as it stands; None when it stands well. `operation`: its oldest open one."""
    if rental.end_asked_at is not None or rental.state is RentalState.ENDING:
        return work_of(WorkKind.TEARDOWN, rental.lease_id, now)
    if rental.state in _PROVISIONED:
        return work_of(WorkKind.RENT, rental.lease_id, now)
    return None if operation is None else work_on_operation(operation, now)


def quiet_for(rental: Rental, now: datetime) -> timedelta:
    """How long nothing is asked for again after it was."""
    return max(QUIET, min(QUIET_MOST, (now - rental.moved_at) / QUIET_PART))


def _oldest_of_leases(operations: Iterable[Operation]) -> dict[str, Operation]:
    oldest: dict[str, Operation] = {}
    for operation in operations:
        oldest.setdefault(operation.lease_id, operation)
    return oldest
