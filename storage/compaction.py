"""Compaction: the many small files of past days become few, one or some per table and day.

    epoch files and small folds of a table's day -> one hidden file -> its place, the manifest swapped -> the old files removed

The long part, reading and writing, is done beside the validator's work. Only the swap needs to be alone, and it is done
only if what was read still counts. Killed at any line, every row still counts once: before the manifest's rename the old
files do, after it the new one; what lies about meanwhile is removed by the next epoch that is archived, or by the next
compaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import HistoryDamaged, SchemaUnknown, StorageError
from storage.folders import (
    FileGone,
    Fold,
    Manifest,
    Part,
    day_of,
    folders_of,
    manifest_of,
    parts_of,
    replace_manifest,
    tidy,
)
from storage.history import UNFINISHED, ZSTD_LEVEL, finish_tidying, part_batches, part_versions
from storage.places import Place, alone, flush_folder, identity_of, move, parquet, size_of, written
from storage.schemas import SCHEMAS, dictionary_columns

MAX_FOLD_BYTES = 1 << 30
"""Of a file's inputs: a day of many transcripts becomes several files, and a killed compaction has lost little work."""
MAX_GROUP_BYTES = 32 << 20
MAX_GROUP_ROWS = 65_536
"""Whichever comes first ends a row group: whoever reads one epoch of a folded day, or its transcripts, reads few of them."""

MAX_DICTIONARY_BYTES = 8 << 20
"""Of one column in a row group: holds the digests of every machine's command outputs, most of which come again."""

Change = Callable[[pa.Table], pa.Table]
"""What is done to the rows on the way, e.g. transcripts emptied."""


@dataclass(frozen=True, slots=True)
class Folded:
    """What compaction did with one table's day."""

    table: str
    day: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    trouble: str = ""
    """Why the day stays as it was; empty when it was folded."""


def compact(root: Place, before: date, tables: Iterable[str] = tuple(SCHEMAS)) -> Iterator[Folded]:
    """Fold the days before this one (UTC), table by table; what each came to, as it is done.

    A day with a file that can't be read stays as it is and is told; StorageError when the disk takes no more.
    """
    for name in tables:
        for folder in folders_of(root, name):
            if day_of(folder) < before.isoformat():
                yield from _told(root, name, folder)


def _told(root: Place, name: str, folder: Place) -> Iterator[Folded]:
    try:
        done = fold_day(root, name, folder)
    except (HistoryDamaged, SchemaUnknown) as error:
        yield Folded(name, day_of(folder), 0, 0, 0, 0, str(error))
    else:
        if done is not None:
            yield done


def fold_day(root: Place, name: str, folder: Place) -> Folded | None:
    """Fold what is not folded of a table's day; None when nothing was to be done."""
    with compacting(root, folder):
        before = parts_of(folder)
        files, size = len(before), _bytes(before)
        chunks = list(_chunks(before))
        for chunk in chunks:
            fold_parts(root, name, chunk)
        after = parts_of(folder)
        return Folded(name, day_of(folder), files, len(after), size, _bytes(after)) if chunks else None


def rewrite_day(root: Place, name: str, folder: Place, change: Change) -> None:
    """Fold a table's day anew, all of it, with a change of its rows."""
    with compacting(root, folder):
        for chunk in _packed(parts_of(folder)):
            fold_parts(root, name, chunk, change)


def fold_parts(root: Place, name: str, parts: Sequence[Part], change: Change | None = None) -> bool:
    """One file in the place of several; False when what was read has ceased to count meanwhile, and nothing was done."""
    folder = parts[0].path.parent
    hidden = folder / f".fold-{uuid.uuid4().hex}.parquet.part"
    try:
        known = [identity_of(part.path) for part in parts]
        versions = _write_fold(hidden, name, parts, change)
        with alone(root):
            if not _still_count(folder, parts, known):
                return False
            _put_in_place(root, name, parts, hidden, versions)
            return True
    except (FileGone, FileNotFoundError):
        return False
    except OSError as error:
        raise StorageError(f"{folder} cannot be folded: {error.strerror or error}") from error
    finally:
        hidden.unlink(missing_ok=True)


@contextmanager
def compacting(root: Place, folder: Place) -> Iterator[None]:
    """One compaction at a time; what a killed one had begun to write in the folder is removed."""
    with alone(root, ".folding"):
        with alone(root):
            finish_tidying(root)
            if folder.is_dir():  # the mark may be lost with the power, these files are not
                tidy(folder)
            for left in folder.glob(".*.part"):  # nobody else writes now
                left.unlink()
        yield


# --- choosing --------------------------------------------------------------------------------------


def _chunks(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """What becomes one file each; a fold that has its size, or nothing to be folded with, stays."""
    small = [
        part for part in parts if part.fold is None or part.is_filtered or _size(part) < MAX_FOLD_BYTES / 2
    ]
    for chunk in _packed(small):
        if any(part.fold is None or part.is_filtered for part in chunk) or len(chunk) > 1:
            yield chunk


def _packed(parts: Iterable[Part]) -> Iterator[list[Part]]:
    chunk: list[Part] = []
    size = 0
    for part in parts:
        if chunk and size + _size(part) > MAX_FOLD_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(part)
        size += _size(part)
    if chunk:
        yield chunk


def _size(part: Part) -> int:
    try:
        return size_of(part.path)
    except FileNotFoundError:
        return 0


def _bytes(parts: Iterable[Part]) -> int:
    return sum(_size(part) for part in parts)


# --- writing ---------------------------------------------------------------------------------------


def _write_fold(hidden: Place, name: str, parts: Sequence[Part], change: Change | None) -> dict[int, int]:
    """Write the rows that count of these files, by epoch; the schema that each epoch was archived in."""
    versions: dict[int, int] = {}
    write_rows(hidden, name, _batches(parts, name, versions, change))
    return versions


def write_rows(path: Place, name: str, tables: Iterable[pa.Table]) -> None:
    """Write a table's rows as a fold has them, and onto the disk; HistoryDamaged when not all of them are there."""
    fields = [field.with_nullable(nullable=True) for field in SCHEMAS[name]]
    schema = pa.schema(fields, metadata=SCHEMAS[name].metadata)
    rows = 0
    with (
        written(path) as file,
        pq.ParquetWriter(
            file,
            schema,
            use_dictionary=dictionary_columns(schema),
            dictionary_pagesize_limit=MAX_DICTIONARY_BYTES,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
        ) as writer,
    ):
        for group in _grouped(tables):
            writer.write_table(group, row_group_size=len(group))
            rows += len(group)
    if parquet(path).metadata.num_rows != rows:
        raise HistoryDamaged(str(path), f"it should have {rows} rows")


def _batches(
    parts: Sequence[Part], name: str, versions: dict[int, int], change: Change | None
) -> Iterator[pa.Table]:
    for part in parts:
        versions.update(part_versions(part))
        for table in part_batches(part, name):
            yield change(table) if change else table


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows in groups that are bounded in bytes and rows."""
    held: list[pa.Table] = []
    rows = size = 0
    for table in filter(len, tables):
        if held and (rows + len(table) > MAX_GROUP_ROWS or size + table.nbytes > MAX_GROUP_BYTES):
            yield pa.concat_tables(held).combine_chunks()
            held, rows, size = [], 0, 0
        held.append(table)
        rows, size = rows + len(table), size + table.nbytes
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _still_count(folder: Place, parts: Sequence[Part], known: Sequence[object]) -> bool:
    """Whether what was read is still what counts: nothing archived again or forgotten since."""
    counting = {part.path: part for part in parts_of(folder)}
    return all(
        counting.get(part.path) == part and identity_of(part.path) == identity
        for part, identity in zip(parts, known, strict=True)
    )


def _put_in_place(
    root: Place, name: str, parts: Sequence[Part], hidden: Place, versions: dict[int, int]
) -> None:
    """Let the new file count and the old ones not; only for who is alone."""
    folder = hidden.parent
    place = folder / hidden.name.removeprefix(".").removesuffix(".part")
    folded = {part.path.name for part in parts}
    kept = tuple(fold for fold in manifest_of(folder).folds if fold.file not in folded)
    mark(root, name, day_of(folder))
    move(hidden, place)
    flush_folder(folder)
    replace_manifest(folder, Manifest((*kept, Fold(place.name, versions))))
    finish_tidying(root)


def mark(root: Place, name: str, day: str) -> None:
    """Say whose files may lie about from now on, for whoever comes next when we are killed."""
    hidden = root / f"{UNFINISHED}.part"
    hidden.write_text(f"{name} {day}", encoding="utf-8")
    move(hidden, root / UNFINISHED)
