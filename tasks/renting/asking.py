"""What is asked of leases from outside: by renters through the API, by the rules of money, by operators.

Each writes the answer's durable part and the work that follows from it in one transaction; nothing here waits for a machine.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from storage.operations import Operations
from storage.rental import COPIES, Happening, Operation, Party, Rental, Work, WorkKind
from storage.rentals import Rentals
from storage.works import Works
from tasks.errors import MoveRefused
from tasks.renting.metering import cost_micro_usd
from tasks.renting.moves import CLOSED, end_asked, noted

OF_RULE = "watch "
"""Begins the keys of operations that a rule asks for. No renter's key has a space: nobody can take one of them first."""


def new_name(kind: str) -> str:
    """A name that nobody can guess: `lease-5f3c...`, in the letters that containers' names may have."""
    return f"{kind}-{secrets.token_hex(8)}"


def work_of(kind: WorkKind, subject: str, now: datetime) -> Work:
    """New work on a lease or an operation."""
    return Work(new_name("work"), kind, subject, now)


def work_on_operation(operation: Operation, now: datetime) -> Work:
    """New work on an operation: what copies much data is worked on apart."""
    kind = WorkKind.COPY if operation.kind in COPIES else WorkKind.OPERATE
    return work_of(kind, operation.operation_id, now)


def ask_for_lease(rentals: Rentals, rental: Rental) -> tuple[Rental, bool]:
    """Keep a request, with its work; of a key that was used before, the lease of that key, and False."""
    return rentals.request(rental, [work_of(WorkKind.RENT, rental.lease_id, rental.requested_at)])


def ask_operation(operations: Operations, rental: Rental, operation: Operation) -> tuple[Operation, bool]:
    """Keep an operation, with its work; of a key that was used before, the operation of that key, and False."""
    return operations.request(rental, operation, [work_on_operation(operation, operation.asked_at)])


def ask_again(works: Works, operation: Operation, now: datetime) -> None:
    """Have an operation worked on by a run of its own kind, unless that waits to be started already."""
    works.again(work_on_operation(operation, now), now)


def ask_end(rentals: Rentals, lease_id: str, now: datetime, party: Party, reason: str) -> Rental | None:
    """Have a lease ended: it is paid until now. Asked again, or of one that is over, it changes nothing.

    None when there is no such lease.
    """

    def rule(rental: Rental) -> Rental:
        if rental.state in CLOSED or rental.end_asked_at is not None:
            return rental
        return end_asked(rental, now, party, reason)

    told = Happening("END_ASKED", reason)
    return change(rentals, lease_id, rule, [told], [work_of(WorkKind.TEARDOWN, lease_id, now)])


def amend(
    rentals: Rentals, lease_id: str, now: datetime, ends_by: datetime | None, **terms: float
) -> Rental | None:
    """Change the renter's own limits: the end, and the terms that are named.

    MoveRefused when the lease is over, and when it has cost more than the new limits would have let it: they hold from now on.
    """

    def rule(rental: Rental) -> Rental:
        after = noted(rental, now, ends_by=ends_by, terms=replace(rental.terms, **terms))  # type: ignore[arg-type]
        if cost_micro_usd(after, now) < cost_micro_usd(rental, now):
            raise MoveRefused(lease_id, rental.state.value, "limited to less than it has cost already")
        return after

    return change(rentals, lease_id, rule, [Happening("AMENDED")])


def change(
    rentals: Rentals,
    lease_id: str,
    rule: Callable[[Rental], Rental],
    happened: Iterable[Happening] = (),
    works: Iterable[Work] = (),
) -> Rental | None:
    """Move a lease by a rule, from wherever it stands when nobody else moves it; the lease after it.

    A rule that gives the lease back as it is changes nothing, and nothing is told. None when there is no such lease.
    """
    told, asked = tuple(happened), tuple(works)
    while (before := rentals.get(lease_id)) is not None:
        after = rule(before)
        if after is before or rentals.move(before, after, told, asked):
            return after
    return None
