"""Reads the state, and of the archive what is new, whenever Prometheus asks, and answers over HTTP.

with serve(Sources(engine, history), "127.0.0.1", 9464): ...
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Metric, generate_latest, start_http_server
from prometheus_client.registry import Collector

from deployments.gauges.archive import Following
from deployments.gauges.families import Figures, families_of
from deployments.marketplace.affairs import Affairs
from deployments.marketplace.board import Board
from storage.lease_events import LeaseEvents
from storage.places import Place
from storage.rental import LeaseEvent
from storage.rentals import Rentals
from storage.running import Running
from storage.snapshots import Snapshot
from tasks.errors import SettingError

HOUR = timedelta(hours=1)
MOST_STEPS = 10_000
"""Of the last hour's steps the newest so many are counted."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where figures come from."""

    engine: sa.Engine
    history: Place | None = None
    """None: nothing is told of the archive."""


class StateCollector(Collector):
    """The figures as they are when they are asked for."""

    def __init__(self, sources: Sources, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        engine = sources.engine
        self._board = Board(engine)
        self._affairs = Affairs(engine, self._board, now)
        self._events, self._money, self._now = LeaseEvents(engine), Running(engine), now
        self._rentals = Rentals(engine)
        self._archive = Following(sources.history) if sources.history else None

    def collect(self) -> Iterator[Metric]:
        """All families."""
        return families_of(self.read())

    def read(self) -> Figures:
        """What they are made of."""
        return Figures(
            look=self._board.look(),
            overview=self._affairs.look(),
            reasons=reasons_of(self._board.snapshot()),
            steps=steps_of(self._events.steps_since(self._now() - HOUR, MOST_STEPS)),
            money=self._money.look(),
            micro_usd_per_hour=self._rentals.micro_usd_per_hour(),
            archived=self._archive.look() if self._archive else None,
        )


def reasons_of(snapshot: Snapshot | None) -> Mapping[tuple[str, str], int]:
    """How many machines have each reason, by (code, severity); those found in shadow are none."""
    scores = snapshot.scores.values() if snapshot else ()
    return Counter(
        found
        for score in scores
        for found in {(why.code, why.severity.value) for why in score.reasons if not why.is_shadow}
    )


def steps_of(events: Iterable[LeaseEvent]) -> Mapping[str, list[float]]:
    """Seconds of each step that was done."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for event in events:
        facts = json.loads(event.facts)
        if facts.get("state") == "done" and "seconds" in facts:
            found[str(facts["name"])].append(float(facts["seconds"]))
    return found


def registry_of(sources: Sources) -> CollectorRegistry:
    """The figures of these sources, and nothing of the process that tells them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StateCollector(sources))
    return registry


def text_of(sources: Sources) -> str:
    """All figures once, as Prometheus reads them."""
    return generate_latest(registry_of(sources)).decode()


@contextmanager
def serve(sources: Sources, host: str, port: int) -> Iterator[int]:
    """Answer `GET /metrics` until the end of the block; the port. SettingError when it is not free."""
    try:
        server, thread = start_http_server(port, host, registry_of(sources))
    except OSError as error:
        raise SettingError("--port", f"{host}:{port}", f"one that is free: {error.strerror}") from error
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
