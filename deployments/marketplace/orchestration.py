"""What Prefect answered when it was asked whether it is well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

FRESH_S = 5.0
STATES = ("Running", "Late", "Scheduled", "Pending")
"""Names of states that are counted."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A queue of a work pool with how many runs of it stand where."""

    name: str
    is_paused: bool
    runs: tuple[int, ...]
    """In the order of STATES."""


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker as the server knows it."""

    name: str
    beat_at: datetime | None
    is_online: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """A work pool."""

    name: str
    is_paused: bool
    queues: tuple[Counted, ...]
    workers: tuple[WorkerSeen, ...]


@dataclass(frozen=True, slots=True)
class Orchestration:
    """The server at one moment."""

    at: datetime
    fault: str
    """Why it could not be asked; empty when it answered."""
    latency_s: float
    """Of its health check, or until it was given up."""
    pools: tuple[Pool, ...] = ()


def failed(error: Exception) -> Orchestration:
    """What is said when asking itself broke."""
    return Orchestration(datetime.now(UTC), type(error).__name__, 0.0)
