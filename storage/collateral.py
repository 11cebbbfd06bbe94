"""The ledger of collateral in the state: lines are added by compare-and-set and never changed; balances are their sums."""

from __future__ import annotations

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.records import CollateralMove, Event
from storage.tables import collateral_moves, events
from storage.upserts import insert_into


class Ledger:
    """Reads the ledger, and adds a line to it in one transaction with its event."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def moves(self, executor_key: str | None = None) -> tuple[CollateralMove, ...]:
        """All lines of one machine, or of all, in order."""
        query = sa.select(collateral_moves).order_by(
            collateral_moves.c.executor_key, collateral_moves.c.number
        )
        if executor_key is not None:
            query = query.where(collateral_moves.c.executor_key == executor_key)
        with reading(self._engine) as connection:
            return tuple(record_of(CollateralMove, row) for row in connection.execute(query).mappings())

    def of_request(self, request: str) -> CollateralMove | None:
        """The line that was added for this request."""
        query = sa.select(collateral_moves).where(collateral_moves.c.request == request)
        with reading(self._engine) as connection:
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else record_of(CollateralMove, row)

    def free_rao(self) -> dict[str, int]:
        """What is free of every machine that ever had some, in rao."""
        key = collateral_moves.c.executor_key
        query = sa.select(key, sa.func.sum(collateral_moves.c.free_rao)).group_by(key)
        with reading(self._engine) as connection:
            return {str(executor_key): int(free) for executor_key, free in connection.execute(query)}

    def add(self, move: CollateralMove, event: Event) -> bool:
        """Add a line with its event; False when its number or its request is taken, and nothing has changed."""
        with writing(self._engine) as connection:
            insert = insert_into(connection, collateral_moves).values(row_of(move)).on_conflict_do_nothing()
            if connection.execute(insert).rowcount != 1:
                return False
            connection.execute(sa.insert(events).values(row_of(event)))
            return True
