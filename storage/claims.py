"""Who works on what: a lease is touched by one run at a time.

A claim names the process that holds it and ends by itself: whoever finds it expired, or its process dead, takes it over.
It keeps runs from doing the same thing twice; that a run that lost its claim does no harm is the moves' own
compare-and-set.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from storage.convert import record_of
from storage.database import reading, writing
from storage.rental import Claim
from storage.runs import Run, is_dead_here
from storage.tables import claims
from storage.upserts import insert_into


class Claims:
    """The claims as all processes see them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def take(self, subject: str, holder: str, until: datetime, now: datetime) -> bool:
        """Take it, or keep it longer; False when another holds it who may be alive."""
        with writing(self._engine) as connection:
            fresh = insert_into(connection, claims).values(subject=subject, holder=holder, until=until)
            if connection.execute(fresh.on_conflict_do_nothing()).rowcount == 1:
                return True
            row = connection.execute(sa.select(claims).where(claims.c.subject == subject)).mappings().one()
            held = record_of(Claim, row)
            if held.holder != holder and held.until > now and not is_dead_here(run_of(held.holder)):
                return False
            found = sa.and_(claims.c.subject == subject, claims.c.holder == held.holder)
            taken = sa.update(claims).where(found).values(holder=holder, until=until)
            return connection.execute(taken).rowcount == 1

    def renew(self, subject: str, holder: str, until: datetime) -> bool:
        """Keep it longer; False when another has taken it over."""
        mine = sa.and_(claims.c.subject == subject, claims.c.holder == holder)
        with writing(self._engine) as connection:
            return connection.execute(sa.update(claims).where(mine).values(until=until)).rowcount == 1

    def release(self, subject: str, holder: str) -> None:
        """Give it back; harmless when another has it."""
        mine = sa.and_(claims.c.subject == subject, claims.c.holder == holder)
        with writing(self._engine) as connection:
            connection.execute(sa.delete(claims).where(mine))

    def held(self, now: datetime) -> frozenset[str]:
        """What somebody works on who may be alive."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(claims)).mappings().all()
        every = [record_of(Claim, row) for row in rows]
        return frozenset(c.subject for c in every if c.until > now and not is_dead_here(run_of(c.holder)))


def holder_of(run: Run) -> str:
    """The name under which a run holds its claims."""
    return f"{run.host}|{run.boot_id}|{run.pid}|{run.started_ticks}|{run.token}"


def run_of(holder: str) -> Run | None:
    """The run that holds a claim under this name; None when it is no run's."""
    match holder.split("|"):
        case [host, boot_id, pid, ticks, token] if pid.isdecimal() and ticks.isdecimal():
            return Run(token, host, boot_id, int(pid), int(ticks))
    return None
