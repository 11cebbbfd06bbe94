"""An epoch's progress: rows in the state, for whoever watches, and an artifact in the Prefect UI."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from storage.errors import DatabaseAway
from storage.records import Phase

_log = logging.getLogger("subnet.epoch")
"""prefect.toml sends the lines of `subnet` to the run's page in the UI."""
PHASES = ("discovery", "inspection", "proof", "scoring", "weights", "archive")


class Progress:
    """Counts what is done in the phase at work; thread-safe; writes at most twenty times a phase."""

    def __init__(self, epoch: int, write: Callable[[Phase], None]) -> None:
        self._epoch = epoch
        self._write = write
        self._lock = threading.Lock()
        self._phase: Phase | None = None
        self._written = 0

    @property
    def share(self) -> float:
        """How much of the epoch is done, 0 to 100, each phase counted alike."""
        phase = self._phase
        if phase is None:
            return 0.0
        inside = 1.0 if phase.finished_at else phase.done / phase.total if phase.total else 0.0
        return 100.0 * (PHASES.index(phase.name) + inside) / len(PHASES)

    def begin(self, name: str, total: int = 0) -> None:
        """Open a phase."""
        with self._lock:
            self._phase = Phase(self._epoch, name, 0, total, "", datetime.now(UTC), None)
            self._written = 0
            self._write(self._phase)

    def step(self, count: int = 1) -> None:
        """`count` more of the phase's units are done."""
        with self._lock:
            if self._phase is None:
                return
            self._phase = replace(self._phase, done=self._phase.done + count)
            if self._phase.done - self._written >= max(1, self._phase.total // 20):
                self._written = self._phase.done
                # A count that nobody saw is no reason to lose an epoch; what is found out is saved elsewhere.
                with suppress(DatabaseAway):
                    self._write(self._phase)

    def end(self, note: str) -> None:
        """Close the phase with a note."""
        with self._lock:
            if self._phase is None:
                return
            self._phase = replace(self._phase, note=note, finished_at=datetime.now(UTC))
            self._write(self._phase)
            _log.info("epoch %s, %s: %s", self._epoch, self._phase.name, note)
