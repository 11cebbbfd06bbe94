"""Retention: days of the history that are old enough are forgotten, transcripts first, by default nothing ever.

A day is forgotten table by table, `epochs` first, each in one moment: its manifest says that none of its epochs counts,
then its files go. Killed in between, the next call goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa

from storage.compaction import compacting, mark, rewrite_day
from storage.folders import (
    Manifest,
    day_of,
    folders_of,
    manifest_of,
    parts_of,
    replace_manifest,
)
from storage.history import finish_tidying
from storage.places import Place, alone, parquet, size_of
from storage.schemas import SCHEMAS


@dataclass(frozen=True, slots=True)
class Keep:
    """How long the history keeps what; None is for ever."""

    transcript_days: int | None = None
    """Of verdicts; everything else of the verdict stays."""
    days: int | None = None
    """Of everything."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """One table's day, or its transcripts alone."""

    table: str
    day: str
    what: str
    """everything or transcripts."""
    bytes: int
    """That are freed: of files, or of transcripts within them."""


def forgettable(root: Place, keep: Keep, today: date) -> list[Forgotten]:
    """What is older than the policy keeps it, `epochs` of a day first.

    Days are counted back from today, or from the day after the newest archived one where that is earlier: a clock that
    is far ahead, or a validator that stood still for a month, makes nothing old.
    """
    newest = max((day_of(folder) for folder in folders_of(root, "epochs")), default=None)
    if newest is not None:
        today = min(today, date.fromisoformat(newest) + timedelta(days=1))
    return [*_old_days(root, keep, today), *_old_transcripts(root, keep, today)]


def forget(root: Place, old: Forgotten) -> None:
    """Forget it; readers see all of it or nothing. Done twice, it changes nothing."""
    for folder in folders_of(root, old.table, old.day):
        if old.what == "transcripts":
            rewrite_day(root, old.table, folder, _without_transcripts)
        else:
            _drop_day(root, old.table, folder)


def _first_kept(days: int | None, today: date) -> str:
    return "" if days is None else (today - timedelta(days=days)).isoformat()


def _old_days(root: Place, keep: Keep, today: date) -> Iterator[Forgotten]:
    kept_from = _first_kept(keep.days, today)
    for name in sorted(SCHEMAS, key=lambda table: table != "epochs"):
        for folder in folders_of(root, name):
            if day_of(folder) < kept_from:
                size = sum(size_of(file) for file in folder.iterdir())
                yield Forgotten(name, day_of(folder), "everything", size)


def _old_transcripts(root: Place, keep: Keep, today: date) -> Iterator[Forgotten]:
    kept_from = _first_kept(keep.transcript_days, today)
    for folder in folders_of(root, "verdicts"):
        if _first_kept(keep.days, today) <= day_of(folder) < kept_from:
            size = sum(_transcript_bytes(part.path) for part in parts_of(folder))
            if size:
                yield Forgotten("verdicts", day_of(folder), "transcripts", size)


def _transcript_bytes(path: Place) -> int:
    """Compressed bytes of a file's transcripts; 0 when all of them are empty."""
    found = parquet(path).metadata
    columns = [
        column
        for group in map(found.row_group, range(found.num_row_groups))
        for column in map(group.column, range(group.num_columns))
        if column.path_in_schema == "transcript"
    ]
    told = [column.statistics for column in columns]
    if all(t is not None and t.has_min_max and t.max in {b"", ""} for t in told):
        return 0
    return sum(column.total_compressed_size for column in columns)


def _without_transcripts(table: pa.Table) -> pa.Table:
    at = table.schema.get_field_index("transcript")
    return table.set_column(at, table.schema.field(at), pa.array([b""] * len(table), pa.binary()))


def _drop_day(root: Place, name: str, folder: Place) -> None:
    with compacting(root, folder), alone(root):
        if not folder.is_dir():  # a killed run had begun it, and it has just been ended
            return
        for left in folder.glob(".*.part"):
            left.unlink()
        epochs = {epoch for part in parts_of(folder) for epoch in part.epochs}
        mark(root, name, day_of(folder))
        replace_manifest(folder, Manifest(dropped=tuple(sorted(epochs | manifest_of(folder).named))))
        finish_tidying(root)
