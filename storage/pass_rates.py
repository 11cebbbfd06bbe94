"""How many machines were proved in past epochs, from the state: for whoever watches that it does not fall."""

from __future__ import annotations

import sqlalchemy as sa

from storage import tables
from storage.database import reading
from storage.records import EpochState, PassRate


def pass_rates(engine: sa.Engine, before: int, count: int) -> tuple[PassRate, ...]:
    """The newest `count` finished epochs before this one, newest first."""
    epochs, executors, verdicts = tables.epochs, tables.executors, tables.verdicts
    listed = sa.select(sa.func.count()).where(executors.c.epoch == epochs.c.epoch)
    proved = sa.select(sa.func.count()).where(
        verdicts.c.epoch == epochs.c.epoch, verdicts.c.severity.is_(None)
    )
    query = (
        sa.select(epochs.c.epoch, listed.scalar_subquery(), proved.scalar_subquery())
        .where(epochs.c.epoch < before, epochs.c.state == EpochState.FINISHED.value)
        .order_by(epochs.c.epoch.desc())
        .limit(count)
    )
    with reading(engine) as connection:
        return tuple(PassRate(*row) for row in connection.execute(query))
