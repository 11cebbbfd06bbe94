"""Room for a lease on its machine: before its container is made or started, its cards are in no other container of ours.

A lease is let go whatever its machine does then: one that was away, or whose engine would not remove a container, still
has it when the cards are the next lease's. What is in the way is removed or stopped here; a machine that does neither
gets no other lease.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from storage.rental import Rental
from tasks.edges.engine import Container
from tasks.renting.jobs import Job
from tasks.renting.making import site_of
from tasks.renting.moves import CLOSED
from tasks.renting.sweeping import STOP_GRACE_S


class Due(StrEnum):
    """What is to become of another lease's container."""

    LET_BE = "let be"
    STOPPED = "stopped"
    REMOVED = "removed"


def due_of(container: Container, other: Rental | None, executor_key: str, card_uuids: Collection[str]) -> Due:
    """What is due for a container on a machine of which a lease holds these cards; `other`: the container's own lease. Pure.

    Who works on the other lease does not matter, unlike for the sweep: it can't hold these cards meanwhile.
    """
    if other is None:
        return Due.LET_BE
    if other.state in CLOSED:
        return Due.REMOVED
    if other.executor_key != executor_key:
        # An attempt that we have not made, as in an older copy of the state, proves nothing.
        return Due.REMOVED if container.attempt <= other.attempt else Due.LET_BE
    if other.is_holding or not container.is_running or not set(card_uuids) & set(other.card_uuids):
        return Due.LET_BE
    return Due.STOPPED


def make_room(job: Job, deadline: float, keep: str = "") -> None:
    """Remove the containers of this lease, of all its attempts, but the one that is named; and what is due of others."""
    engine, lease = site_of(job).engine(deadline), job.lease
    for container in engine.containers(deadline=deadline):
        owner = (container.validator_hotkey, container.executor_key)
        if owner != (job.market.edges.own_hotkey, lease.executor_key) or container.name == keep:
            continue
        is_own = container.lease_id == lease.lease_id
        other = None if is_own else job.market.rentals.get(container.lease_id)
        due = Due.REMOVED if is_own else due_of(container, other, lease.executor_key, lease.card_uuids)
        if due is Due.REMOVED:
            engine.remove(container.name, deadline=deadline)
        elif due is Due.STOPPED:
            engine.stop(container.name, STOP_GRACE_S, deadline=deadline)
