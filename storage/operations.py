"""What renters ask of their leases: kept with its key, its work and its event in one transaction; one after the other."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.lease_events import append
from storage.rental import Happening, Operation, OperationState, Rental, Work
from storage.tables import operations
from storage.upserts import insert_into
from storage.works import ask

OPEN = (OperationState.ASKED.value, OperationState.RUNNING.value)


class Operations:
    """The operations as all processes see them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def request(
        self, rental: Rental, operation: Operation, works: Iterable[Work] = ()
    ) -> tuple[Operation, bool]:
        """Keep a new operation; with a key that its lease has seen before, the operation of that key, and False."""
        by_key = sa.and_(
            operations.c.lease_id == operation.lease_id,
            operations.c.idempotency_key == operation.idempotency_key,
        )
        with writing(self._engine) as connection:
            insert = insert_into(connection, operations).values(row_of(operation)).on_conflict_do_nothing()
            is_new = connection.execute(insert).rowcount == 1
            if is_new:
                told = Happening(f"{operation.kind.value.upper()}_ASKED", facts=_facts(operation))
                append(connection, rental, operation.asked_at, [told])
                ask(connection, works)
            row = connection.execute(sa.select(operations).where(by_key)).mappings().one()
            return record_of(Operation, row), is_new

    def move(self, rental: Rental, before: Operation, after: Operation) -> bool:
        """Move an operation on if it still stands where `before` says, and tell it; False when another has moved it."""
        stands = sa.and_(
            operations.c.operation_id == before.operation_id, operations.c.state == before.state.value
        )
        with writing(self._engine) as connection:
            done = connection.execute(sa.update(operations).where(stands).values(row_of(after)))
            if done.rowcount != 1:
                return False
            kind = f"{after.kind.value.upper()}_{after.state.value.upper()}"
            at = after.ended_at or after.begun_at or after.asked_at
            append(connection, rental, at, [Happening(kind, after.reason, _facts(after))])
            return True

    def get(self, operation_id: str) -> Operation | None:
        """An operation by its name."""
        found = self._all(sa.select(operations).where(operations.c.operation_id == operation_id))
        return found[0] if found else None

    def of_lease(self, lease_id: str, newest: int = 100) -> tuple[Operation, ...]:
        """A lease's newest operations, newest first."""
        query = sa.select(operations).where(operations.c.lease_id == lease_id)
        order = (operations.c.asked_at.desc(), operations.c.operation_id.desc())
        return self._all(query.order_by(*order).limit(newest))

    def open(self, lease_id: str = "") -> tuple[Operation, ...]:
        """Those that are not over, of one lease or of all, in the order in which they are to be done."""
        query = sa.select(operations).where(operations.c.state.in_(OPEN))
        if lease_id:
            query = query.where(operations.c.lease_id == lease_id)
        return self._all(query.order_by(operations.c.asked_at, operations.c.operation_id))

    def _all(self, query: sa.Select[tuple[object, ...]]) -> tuple[Operation, ...]:
        with reading(self._engine) as connection:
            return tuple(record_of(Operation, row) for row in connection.execute(query).mappings())


def _facts(operation: Operation) -> str:
    return f'{{"operation_id": "{operation.operation_id}"}}'
