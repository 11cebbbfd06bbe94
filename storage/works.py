"""What workers are to do, written in the transaction that asked for it: with Prefect away it waits here.

A work is started by whoever makes its flow run, under the work's name, so that starting it twice makes one run. That it
was started says nothing about its end: a lease's own state does.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.rental import Work
from storage.tables import works
from storage.upserts import insert_into


class Works:
    """The outbox as all processes see it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def unstarted(self, limit: int = 100) -> tuple[Work, ...]:
        """What no flow run was made for yet, oldest first."""
        query = sa.select(works).where(works.c.flow_run_id == "")
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(works.c.asked_at, works.c.work_id).limit(limit))
            return tuple(record_of(Work, row) for row in rows.mappings())

    def started(self, work_id: str, flow_run_id: str) -> bool:
        """Keep that its flow run is made; False when it was before."""
        unstarted = sa.and_(works.c.work_id == work_id, works.c.flow_run_id == "")
        with writing(self._engine) as connection:
            done = connection.execute(sa.update(works).where(unstarted).values(flow_run_id=flow_run_id))
            return done.rowcount == 1

    def waiting(self, subjects: Iterable[str]) -> frozenset[str]:
        """Which of these have work that is not started."""
        query = sa.select(works.c.subject).where(
            works.c.flow_run_id == "", works.c.subject.in_(tuple(subjects))
        )
        with reading(self._engine) as connection:
            return frozenset(str(subject) for (subject,) in connection.execute(query))

    def again(self, work: Work, quiet_since: datetime) -> bool:
        """Ask once more for what stands still; False while the same waits, or was asked for after `quiet_since`."""
        same = sa.and_(works.c.subject == work.subject, works.c.kind == work.kind.value)
        is_near = sa.or_(works.c.flow_run_id == "", works.c.asked_at > quiet_since)
        with writing(self._engine) as connection:
            near = connection.execute(sa.select(works.c.work_id).where(same, is_near).limit(1)).first()
            if near is None:
                ask(connection, [work])
            return near is None

    def forget(self, before: datetime) -> int:
        """Drop what was started before this moment: how many."""
        old = sa.and_(works.c.flow_run_id != "", works.c.asked_at < before)
        with writing(self._engine) as connection:
            return int(connection.execute(sa.delete(works).where(old)).rowcount)


def ask(connection: sa.Connection, wanted: Iterable[Work]) -> None:
    """Write works in the caller's transaction; one that is there already stays as it is."""
    for work in wanted:
        connection.execute(insert_into(connection, works).values(row_of(work)).on_conflict_do_nothing())
