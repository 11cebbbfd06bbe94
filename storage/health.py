"""What the looks at leases' machines have found: the last of each lease, and a bounded series of what it used.

A sample says at its writing how long it is kept: the first of an hour longest, the first of a minute longer, all others
for a short time. A lease therefore has at most some thousands of rows, however long it runs.

    watch, every 15 s   -> save   every lease that runs; its sample is left out where a finer one was just taken
    whoever looks, 5 s  -> add    one lease, while somebody has its page or its feed open

Both make one series, in which a sample's grain comes from the one before it, whoever took that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

import sqlalchemy as sa

from storage.convert import record_of, row_of
from storage.database import reading, writing
from storage.rental import CardUse
from storage.tables import lease_health, lease_metrics
from storage.upserts import upsert

FINER = timedelta(seconds=10)
"""A look's sample is left out where another is younger than this: somebody measures the lease more finely just now."""


class Grain(IntEnum):
    """For how long a sample is kept."""

    FINE = 1
    MINUTE = 2
    """The first of its minute."""
    HOUR = 3
    """The first of its hour."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What a lease's container and cards used at a moment."""

    lease_id: str
    at: datetime
    cards: tuple[CardUse, ...] = ()
    cpu_percent: float | None = None
    """Of one core: 250 is two and a half. None: not known."""
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    received_bytes: int | None = None
    """Since its start; in a look's sample as the engine rounds it."""
    sent_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    pids: int | None = None

    @property
    def gpu_percent(self) -> float | None:
        """Of its busiest card; None when nothing is known of them."""
        return max((card.percent for card in self.cards), default=None)


@dataclass(frozen=True, slots=True)
class Health:
    """What the last look at a lease found, and since when it is so."""

    lease_id: str
    looked_at: datetime
    """Of the last look that had an answer or should have had one."""
    well_at: datetime | None = None
    """When its container was last seen alive; the credit for a fault counts from here."""
    idle_since: datetime | None = None
    dead: str = ""
    """How the container was found; empty: alive, or not known."""
    dead_looks: int = 0
    away_since: datetime | None = None
    """Since when the machine gives no answer."""
    metered_at: datetime | None = None
    """When it was last charged."""
    sampled_at: datetime | None = None
    """Of the newest look that had something to keep."""


class LeaseHealth:
    """Reads and writes both."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def all(self, lease_ids: Iterable[str]) -> Mapping[str, Health]:
        """The last look at each of these leases; those never looked at are missing."""
        query = sa.select(lease_health).where(lease_health.c.lease_id.in_(list(lease_ids)))
        with reading(self._engine) as connection:
            found = [record_of(Health, row) for row in connection.execute(query).mappings()]
        return {health.lease_id: health for health in found}

    def get(self, lease_id: str) -> Health | None:
        """The last look at a lease; None when nobody looked yet."""
        return self.all([lease_id]).get(lease_id)

    def save(self, healths: Iterable[Health], metrics: Iterable[Metric] = ()) -> None:
        """Keep what a round of looks found, all of it or nothing; but samples of leases that were just sampled are left out."""
        healths, samples = tuple(healths), {metric.lease_id: metric for metric in metrics}
        with writing(self._engine) as connection:
            last = _newest(connection, samples.values())
            wanted = [
                metric
                for metric in samples.values()
                if metric.lease_id not in last or metric.at - last[metric.lease_id] >= FINER
            ]
            upsert(connection, lease_health, [row_of(health) for health in healths])
            upsert(connection, lease_metrics, [_row(metric, last) for metric in wanted])

    def add(self, metric: Metric) -> None:
        """Keep one sample more."""
        with writing(self._engine) as connection:
            upsert(connection, lease_metrics, [_row(metric, _newest(connection, [metric]))])

    def metrics(
        self,
        lease_id: str,
        since: datetime | None = None,
        newest: int = 1_000,
        least: Grain = Grain.FINE,
    ) -> tuple[Metric, ...]:
        """The newest samples of a lease that are kept as long as `least` or longer, oldest first."""
        query = sa.select(lease_metrics).where(lease_metrics.c.lease_id == lease_id)
        if least > Grain.FINE:
            query = query.where(lease_metrics.c.grain >= int(least))
        if since is not None:
            query = query.where(lease_metrics.c.at > since)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(lease_metrics.c.at.desc()).limit(newest)).mappings()
            return tuple(record_of(Metric, row) for row in rows)[::-1]

    def thin(self, now: datetime, fine_s: int, minutes_s: int, hours_s: int) -> int:
        """Forget samples that are older than their grain is kept; how many."""
        gone = 0
        with writing(self._engine) as connection:
            for grain, seconds in ((Grain.FINE, fine_s), (Grain.MINUTE, minutes_s), (Grain.HOUR, hours_s)):
                is_old = lease_metrics.c.at < now - timedelta(seconds=seconds)
                over = sa.delete(lease_metrics).where(lease_metrics.c.grain == int(grain), is_old)
                gone += connection.execute(over).rowcount
        return gone


def grain_of(at: datetime, last: datetime | None) -> Grain:
    """Of a sample, after the lease's last one."""
    if last is None or (at.date(), at.hour) != (last.date(), last.hour):
        return Grain.HOUR
    return Grain.MINUTE if at.minute != last.minute else Grain.FINE


def _newest(connection: sa.Connection, metrics: Iterable[Metric]) -> dict[str, datetime]:
    """When each of these leases was sampled last; those are missing that were not since the hour began, which is all that matters."""
    sampled = {metric.lease_id: metric.at for metric in metrics}
    if not sampled:
        return {}
    begin = min(sampled.values())
    since = min(begin - FINER, begin.replace(minute=0, second=0, microsecond=0))
    at = sa.func.max(lease_metrics.c.at, type_=lease_metrics.c.at.type).label("newest")
    query = sa.select(lease_metrics.c.lease_id, at).where(
        lease_metrics.c.lease_id.in_(list(sampled)), lease_metrics.c.at >= since
    )
    found = connection.execute(query.group_by(lease_metrics.c.lease_id))
    return {row.lease_id: row.newest for row in found}


def _row(metric: Metric, last: Mapping[str, datetime]) -> dict[str, object]:
    return row_of(metric) | {"grain": int(grain_of(metric.at, last.get(metric.lease_id)))}
