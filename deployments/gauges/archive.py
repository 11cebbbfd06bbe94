"""What the archive tells of the newest epoch, and of the last day's: each epoch is read once, whenever it has come.

Following(history).look() -> Archived
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import HistoryDamaged
from storage.history import archived_since, read_arrow
from storage.places import Place
from storage.records import ProvedEpoch, Severity
from tasks.reporting.checked import checks_of
from tasks.reporting.false_zeros import FALSE_ZERO, Judge, Zeros
from tasks.reporting.results import Read, results_of, silences_of
from tasks.reporting.step_times import binned, spread, step_rows

DAY_OF_EPOCHS = 144
FIRST_EPOCHS = 12
"""So many are read when the first look comes; the day fills up from there."""
EFFECTIVE = (Severity.FAIL.value, Severity.NO_VERDICT.value)
Codes = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Archived:
    """The newest archived epoch, and how epochs before it were judged."""

    epoch: int
    checked: Mapping[str, int]
    """By stage: machines (at discovery: miners) that were checked."""
    stopped: Codes
    """By stage and code: how many of these it kept from pay; 0 for a code that only others of the day have."""
    steps: pd.DataFrame
    """By step: machines, median, p95, seconds (all together)."""
    received_bytes: int
    """From all machines, during their proofs."""
    judged: int
    """Machine-epochs of the last day (144 epochs) that their neighbours judge."""
    zeros: Mapping[tuple[str, str], int]
    """By code and effect (false zero, forgiven)."""
    unread: int = 0
    """Archived epochs of that time that can't be read."""

    @property
    def false_zero_ratio(self) -> float | None:
        """None when nothing was judged."""
        false = sum(count for (_, effect), count in self.zeros.items() if effect == FALSE_ZERO)
        return false / self.judged if self.judged else None


@dataclass(slots=True)
class _Past:
    """What is kept of the epochs that were read."""

    judge: Judge = field(default_factory=Judge)
    zeros: deque[Zeros] = field(default_factory=lambda: deque(maxlen=DAY_OF_EPOCHS))
    codes: deque[frozenset[tuple[str, str]]] = field(default_factory=lambda: deque(maxlen=DAY_OF_EPOCHS))
    unread: deque[bool] = field(default_factory=lambda: deque(maxlen=DAY_OF_EPOCHS))
    newest: ProvedEpoch | None = None
    told: Archived | None = None


class Following:
    """Reads what is new in a history; safe for threads."""

    def __init__(self, history: Place) -> None:
        self._history, self._past = history, _Past()
        self._lock = threading.Lock()

    def look(self) -> Archived | None:
        """None while nothing is archived."""
        with self._lock:
            for one in self._new():
                self._read(one)
            return self._past.told

    def _new(self) -> list[ProvedEpoch]:
        """Those that came since the last look, the oldest first."""
        newest = self._past.newest
        if newest is None:
            days = sorted({one.day for one in archived_since(self._history, "")})[-2:]
            return archived_since(self._history, days[0])[:FIRST_EPOCHS][::-1] if days else []
        since = f"{date.fromisoformat(newest.day) - timedelta(days=1)}"
        return [one for one in archived_since(self._history, since) if one.epoch > newest.epoch][::-1]

    def _read(self, one: ProvedEpoch) -> None:
        past = self._past
        past.newest = one
        told = past.told
        try:
            told = _told(partial(_read, self._history, one), one.epoch, past)
        except HistoryDamaged:
            past.unread.append(True)
        else:
            past.unread.append(False)
        past.told = told and replace(told, unread=sum(past.unread))


def _told(read: Read, epoch: int, past: _Past) -> Archived:
    checks, checked = checks_of(read)
    zeros = past.judge.add(results_of(read), silences_of(read))
    found: Counter[tuple[str, str]] = Counter()
    for stage, code, count in _plain(checks[checks["severity"].isin(EFFECTIVE)], "stage", "code", "machines"):
        found[str(stage), str(code)] += int(count)
    past.zeros.append(zeros)
    past.codes.append(frozenset(found))
    counts: Counter[tuple[str, str]] = Counter()
    for judged in past.zeros:
        for code, effect, count in _plain(judged.found, "code", "effect", "machines"):
            counts[str(code), str(effect)] += int(count)
    return Archived(
        epoch=epoch,
        checked=checked,
        stopped={key: found.get(key, 0) for key in sorted(frozenset().union(*past.codes))},
        steps=spread(binned(step_rows(read))),
        received_bytes=int(
            pc.sum(read("verdicts", "epoch", "bytes_received")["bytes_received"]).as_py() or 0
        ),
        judged=sum(int(one.judged["judged"].sum()) for one in past.zeros),
        zeros=counts,
    )


def _plain(rows: pd.DataFrame, *columns: str) -> list[list[Any]]:
    return [list(row) for row in zip(*(rows[column].tolist() for column in columns), strict=True)]


def _read(history: Place, one: ProvedEpoch, table: str, *columns: str) -> pa.Table:
    return read_arrow(history, table, epoch=one.epoch, day=one.day, columns=columns).drop_columns("day")
