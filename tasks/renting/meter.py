"""Measuring one container again and again over a session that is kept: its counters, and what the machine's cards do.

    meter = Meter(runtime, container)
    meter.read(card_uuids, deadline=...)         Reading; raises what the session and the engine do
    sample_of(lease_id, now, before, reading)    what is kept of it; pure

A reading costs the machine two short programs and `nvidia-smi`; what it costs is measured by the bench (`sample_cpu`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from storage.health import Metric
from storage.rental import CardUse
from tasks.edges.runtime import Runtime
from tasks.inspection.talk import run_program
from tasks.renting.counters import (
    FIND_BYTES,
    READ_BYTES,
    Counters,
    cpu_percent,
    find,
    read_counters,
    read_folders,
    reading,
)
from tasks.renting.looking import ask_cards

PROGRAM_S = 3.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured at once."""

    cards: tuple[CardUse, ...] = ()
    """Those of the lease that told."""
    counters: Counters = field(default_factory=Counters)


class Meter:
    """Of one container, over one session; used by one thread at a time."""

    def __init__(self, runtime: Runtime, container: str) -> None:
        self.runtime, self._container = runtime, container
        self._folders: tuple[str, ...] = ()

    def read(self, card_uuids: Sequence[str], *, deadline: float) -> Reading:
        """Measure now. A container that stands still or is gone has no counters; its cards may still tell."""
        cards = ask_cards(self.runtime.session, deadline=deadline)
        counters = self._counters(deadline)
        return Reading(tuple(cards[uuid] for uuid in card_uuids if uuid in cards), counters)

    def _counters(self, deadline: float) -> Counters:
        """A container that was started anew may be in other groups: they are looked for once more when nothing is read."""
        for _ in range(2):
            if not self._folders:
                self._folders = self._find(deadline)
            if not self._folders:
                break
            found = read_counters(self._run(reading(self._folders), READ_BYTES, deadline))
            if found.cpu_s is not None:
                return found
            self._folders = ()
        return Counters()

    def _find(self, deadline: float) -> tuple[str, ...]:
        container = self.runtime.inspect(self._container, deadline=deadline)
        if container is None or not container.is_running:
            return ()
        # With the prefix some engines write before it there would be no such folder.
        words = find(container.container_id.removeprefix("sha256:"))
        return read_folders(self._run(words, FIND_BYTES, deadline))

    def _run(self, words: Sequence[str], limit_bytes: int, deadline: float) -> bytes:
        session = self.runtime.session
        return run_program(
            session, words, timeout_s=PROGRAM_S, limit_bytes=limit_bytes, deadline=deadline
        ).stdout


def sample_of(lease_id: str, at: datetime, before: Counters | None, now: Reading) -> Metric | None:
    """What is kept of a reading; None where it tells nothing. Pure."""
    told = now.counters
    if not now.cards and told.cpu_s is None:
        return None
    return Metric(
        lease_id=lease_id,
        at=at,
        cards=now.cards,
        cpu_percent=cpu_percent(before, told),
        memory_bytes=told.memory_bytes,
        memory_limit_bytes=told.memory_limit_bytes,
        received_bytes=told.received_bytes,
        sent_bytes=told.sent_bytes,
        read_bytes=told.read_bytes,
        written_bytes=told.written_bytes,
        pids=told.pids,
    )
