"""What the last finished epoch knows of the network: where miners are, and what was proved of their machines.

Leases are offered and machines are reached by it, without the chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from pydantic import TypeAdapter

from storage import tables
from storage.convert import record_of
from storage.database import reading
from storage.records import (
    EpochState,
    Executor,
    ExecutorRecord,
    HostFacts,
    Neuron,
    OfferTerms,
    Quote,
    Score,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One finished epoch, as far as renting needs it."""

    epoch: int
    netuid: int
    block: int
    block_hash: str
    finished_at: datetime
    neurons: Mapping[str, Neuron]
    """By hotkey."""
    quotes: tuple[Quote, ...]
    executors: Mapping[str, Executor]
    """These by the machine's key."""
    scores: Mapping[str, Score]
    verdicts: Mapping[str, Verdict]
    """Without their transcripts."""
    records: Mapping[str, ExecutorRecord]
    leased: frozenset[str]
    """Machines that had a lease in it: their proof was the light one."""
    terms: Mapping[str, OfferTerms]
    """Of the machines of which their miner wants anything."""
    owner_hotkey: str = ""
    """Where goes what nobody earned."""


class Snapshots:
    """Reads the newest snapshot, once for each epoch."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._newest: Snapshot | None = None

    def newest(self) -> Snapshot | None:
        """That of the last epoch that was finished with its grounds; None before the first."""
        with reading(self._engine) as connection:
            head = connection.execute(_LAST).mappings().first()
            if head is None:
                return None
            if self._newest is None or self._newest.epoch != head["epoch"]:
                self._newest = _read(connection, head)
            return self._newest

    def facts_of(self, executor_key: str) -> HostFacts:
        """What an inspection last found of a machine that listed cards; nothing when no kept epoch has."""
        found = tables.reports.c.executor_key == executor_key
        query = (
            sa.select(tables.reports.c.facts).where(found).order_by(tables.reports.c.epoch.desc()).limit(8)
        )
        with reading(self._engine) as connection:
            for (text,) in connection.execute(query):
                facts = _FACTS.validate_json(text)
                if facts.cards:
                    return facts
        return HostFacts()


_LAST = (
    sa.select(tables.epochs, tables.grounds.c.neurons, tables.grounds.c.quotes, tables.grounds.c.owner_hotkey)
    .join(tables.grounds, tables.grounds.c.epoch == tables.epochs.c.epoch)
    .where(tables.epochs.c.state == EpochState.FINISHED.value)
    .order_by(tables.epochs.c.epoch.desc())
    .limit(1)
)
_NEURONS = TypeAdapter(tuple[Neuron, ...])
_QUOTES = TypeAdapter(tuple[Quote, ...])
_FACTS = TypeAdapter(HostFacts)


def _read(connection: sa.Connection, head: sa.RowMapping) -> Snapshot:
    epoch = int(head["epoch"])
    bare = [column for column in tables.verdicts.columns if column.name != "transcript"]
    verdicts = connection.execute(sa.select(*bare).where(tables.verdicts.c.epoch == epoch)).mappings()
    standing = sa.select(tables.standings.c.executor_key).where(
        tables.standings.c.epoch == epoch, tables.standings.c.is_leased
    )
    records = connection.execute(sa.select(tables.executor_records)).mappings()
    return Snapshot(
        epoch=epoch,
        netuid=int(head["netuid"]),
        block=int(head["block"]),
        block_hash=str(head["block_hash"]),
        finished_at=head["finished_at"],
        neurons={neuron.hotkey: neuron for neuron in _NEURONS.validate_json(head["neurons"])},
        quotes=_QUOTES.validate_json(head["quotes"]),
        executors={
            str(row["executor_key"]): record_of(Executor, row)
            for row in _rows(connection, tables.executors, epoch)
        },
        scores={
            str(row["executor_key"]): record_of(Score, row) for row in _rows(connection, tables.scores, epoch)
        },
        verdicts={str(row["executor_key"]): record_of(Verdict, row, transcript=b"") for row in verdicts},
        records={str(row["executor_key"]): record_of(ExecutorRecord, row) for row in records},
        leased=frozenset(str(key) for (key,) in connection.execute(standing)),
        terms={
            str(row["executor_key"]): record_of(OfferTerms, row)
            for row in _rows(connection, tables.offer_terms, epoch)
        },
        owner_hotkey=str(head["owner_hotkey"]),
    )


def _rows(connection: sa.Connection, table: sa.Table, epoch: int) -> sa.MappingResult:
    return connection.execute(sa.select(table).where(table.c.epoch == epoch)).mappings()
