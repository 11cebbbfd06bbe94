"""The history: Parquet (zstd) in folders by day, on a disk or on S3, a file per table and epoch until a day is folded.

    <root>/<table>/day=YYYY-MM-DD/epoch-<n>.parquet

A file is written under a hidden name, flushed to the disk and then renamed, so that a reader never sees half
of one; writing an epoch again replaces its files. `epochs` is written last: an epoch that it lists is whole.
Which files count is the matter of `storage/folders.py`: every reader here sees each row once at any moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date
from functools import partial

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.convert import outcome_of, scores_of, tables_of
from storage.errors import HistoryDamaged, SchemaUnknown, StorageError
from storage.folders import (
    FileGone,
    Part,
    day_of,
    folders_of,
    manifest_of,
    parts_of,
    replace_manifest,
    settled,
    table_parts,
    tidy,
)
from storage.places import Place, alone, each, flush_folder, move, parquet, written
from storage.records import EpochOutcome, PassedProof, ProvedEpoch, Score
from storage.schemas import SCHEMAS, VERSION, since, text_columns

ZSTD_LEVEL = 6
MAX_TRANSCRIPT_BYTES = 4 << 20
TRANSCRIPTS_AT_ONCE = 64
"""Bounds the memory of whoever goes through an epoch's transcripts: one is at most 4 MiB, most are far below 1 MiB."""
ROWS_AT_ONCE = 4_096
UNFINISHED = ".unfinished"
"""Names the table and day of which files may lie about that no longer count."""


def write_epoch(root: Place, outcome: EpochOutcome) -> list[Place]:
    """Archive an epoch; the paths written, one per table. Done twice, it replaces what was there.

    Raises StorageError when the disk does not take it; then no file is half there.
    """
    day = outcome.started_at.astimezone(UTC).date().isoformat()
    tables = tables_of(outcome)
    try:
        with alone(root):
            finish_tidying(root)
            return [_write_table(root / name, day, outcome.epoch, table) for name, table in tables.items()]
    except OSError as error:
        raise StorageError(f"the history at {root} cannot be written: {error.strerror or error}") from error


def read_table(
    root: Place,
    name: str,
    *,
    epoch: int | None = None,
    day: date | str | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """A table of the history, of all epochs, one, or those of a day (UTC); a column `day` is added.

    Integers are pandas' nullable Int64, so that what a machine did not say stays missing; rows are in the order of
    epochs. A table without any file gives no rows and all columns. `columns`: only these are read.
    """
    table = read_arrow(root, name, epoch=epoch, day=day, columns=columns)
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame


def read_arrow(
    root: Place,
    name: str,
    *,
    epoch: int | None = None,
    day: date | str | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """The same as an Arrow table: lists of structs, such as reasons, take a tenth of the memory that pandas needs."""
    tables = [_day_table(folder, name, epoch, columns) for folder in _folders_with(root, name, epoch, day)]
    empty = _with_day(_empty(name, columns), "")
    whole = _each_once(pa.concat_tables([*(t for t in tables if len(t)), empty]))
    return whole if columns is None else whole.select([*columns, "day"])


def read_epoch(root: Place, epoch: int, *, transcripts: bool = True) -> EpochOutcome | None:
    """Everything that an archived epoch found out, None when it is not archived.

    Without `transcripts` those of the verdicts are left empty: they are by far the most of it.
    """
    return settled(partial(_read_epoch, root, epoch, transcripts=transcripts))


def read_scores(root: Place, epoch: int) -> tuple[Score, ...]:
    """The scores of an archived epoch with all terms and reasons, in the order of their keys; none when there are none."""
    return scores_of(read_arrow(root, "scores", epoch=epoch).drop_columns(["day"]))


def read_transcripts(root: Place, epoch: int) -> Iterator[tuple[str, bytes]]:
    """Executor keys and transcripts of an archived epoch, in the order of its verdicts, few of them in memory at once.

    Raises what `read_epoch` raises; HistoryDamaged in the middle when a later part of the file can't be read.
    """
    part, file = settled(partial(_opened_one, root, "verdicts", epoch))
    columns = ["epoch", "executor_key", "transcript"]
    with _damage_told(part.path):
        for batch in file.iter_batches(TRANSCRIPTS_AT_ONCE, _groups(file, part), columns):
            mine = batch.filter(pc.equal(batch["epoch"], epoch))
            keys, transcripts = mine["executor_key"].cast(pa.string()), mine["transcript"].cast(pa.binary())
            longest = pc.max(pc.binary_length(transcripts)).as_py() or 0
            if longest > MAX_TRANSCRIPT_BYTES:  # compressed it may be a thousandth of that
                raise ValueError(f"a transcript of {longest} bytes, at most {MAX_TRANSCRIPT_BYTES}")
            for key, content in zip(keys.to_pylist(), transcripts.to_pylist(), strict=True):
                yield str(key), content or b""


def archived_epochs(root: Place) -> list[int]:
    """The numbers of all archived epochs, ascending."""
    return sorted(epoch for part in table_parts(root, "epochs") for epoch in part.epochs)


def archived_since(root: Place, since: str) -> list[ProvedEpoch]:
    """The archived epochs from this day on (YYYY-MM-DD, UTC), newest first; no Parquet file is opened."""
    parts = (part for part in table_parts(root, "epochs") if part.day >= since)
    epochs = [ProvedEpoch(epoch, part.day) for part in parts for epoch in part.epochs]
    return sorted(epochs, key=lambda archived: -archived.epoch)


def read_passed(root: Place, archived: ProvedEpoch) -> tuple[PassedProof, ...]:
    """The machines whose proof passed in an archived epoch, with the first card listed and the slowest proved.

    Of three files the few columns needed are read, transcripts are not. Raises HistoryDamaged, SchemaUnknown.
    """
    return settled(partial(_read_passed, root, archived))


def part_versions(part: Part) -> dict[int, int]:
    """The schema in which each epoch of a file was archived."""
    if part.fold:
        return {epoch: part.fold.epochs[epoch] for epoch in part.epochs}
    return {part.epochs[0]: _version_of(opened(part.path))}


def part_batches(part: Part, name: str) -> Iterator[pa.Table]:
    """The rows that count of one file in their order, few in memory at once, in today's schema."""
    file = opened(part.path)
    at_once = TRANSCRIPTS_AT_ONCE // 4 if "transcript" in SCHEMAS[name].names else ROWS_AT_ONCE
    with _damage_told(part.path):
        for batch in file.iter_batches(at_once, _groups(file, part)):
            table = pa.table(batch)
            mine = table.filter(_is_of(table, part)) if part.is_filtered else _own(table, part)
            yield _in_schema(mine, SCHEMAS[name])


def finish_tidying(root: Place) -> None:
    """What a killed compaction has left to be removed; only for who is alone."""
    mark = root / UNFINISHED
    if mark.exists():
        for folder in _marked(root, mark):
            tidy(folder)
        mark.unlink()


# --- files -----------------------------------------------------------------------------------------


def _marked(root: Place, mark: Place) -> list[Place]:
    """The folder that a mark names; none when its content was lost with the power: the next compaction tidies it."""
    try:
        name, _, day = mark.read_text(encoding="utf-8").partition(" ")
        return folders_of(root, name, day)
    except (StorageError, ValueError):
        return []


def _write_table(folder: Place, day: str, epoch: int, table: pa.Table) -> Place:
    path = folder / f"day={day}" / f"epoch-{epoch}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    # One name for all tries: what a killed writer leaves, the next one that archives the epoch writes over.
    hidden = path.with_name(f".{path.name}.part")
    try:
        with written(hidden) as file:
            pq.write_table(
                table,
                file,
                compression="zstd",
                compression_level=ZSTD_LEVEL,
                use_dictionary=text_columns(table.schema),
                row_group_size=TRANSCRIPTS_AT_ONCE if "transcript" in table.column_names else None,
            )
        move(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)
    flush_folder(path.parent)
    each(partial(_forget_older, epoch=epoch, kept=path), folder.glob("day=*"))
    return path


def _forget_older(folder: Place, epoch: int, kept: Place) -> None:
    """Let nothing but the file just written count for its epoch."""
    manifest = manifest_of(folder)
    if epoch in manifest.named:
        replace_manifest(folder, manifest.less(epoch))
    if folder != kept.parent:
        (folder / kept.name).unlink(missing_ok=True)


def _folders_with(root: Place, name: str, epoch: int | None, day: date | str | None) -> list[Place]:
    """The folders of a table's days; where one epoch is asked for, the one that holds it."""
    if epoch is None:
        return folders_of(root, name, day)
    found = _find(root, name, epoch, day)
    return [] if found is None else [found.path.parent]


def _day_table(folder: Place, name: str, epoch: int | None, columns: Sequence[str] | None) -> pa.Table:
    """The rows of a table's day in the order of epochs."""

    def read() -> pa.Table:
        parts = [part for part in parts_of(folder) if epoch is None or epoch in part.epochs]
        return _together(name, [_read(part, name, columns, epoch) for part in parts], columns)

    return _with_day(settled(read), day_of(folder))


def _together(name: str, tables: list[pa.Table], columns: Sequence[str] | None) -> pa.Table:
    whole = pa.concat_tables([*tables, _empty(name, columns)])
    firsts = whole["epoch"]
    is_sorted = len(whole) < 2 or pc.all(pc.greater_equal(firsts[1:], firsts[:-1])).as_py()
    return whole if is_sorted else whole.sort_by("epoch")


def _each_once(whole: pa.Table) -> pa.Table:
    """Without the rows of an epoch on an earlier day, as long as its second writing on a later one is under way."""
    days = whole.select(["epoch", "day"]).group_by("epoch").aggregate([("day", "max"), ("day", "min")])
    twice = days.filter(pc.not_equal(days["day_max"], days["day_min"]))
    for row in twice.to_pylist():
        is_older = pc.and_(pc.equal(whole["epoch"], row["epoch"]), pc.not_equal(whole["day"], row["day_max"]))
        whole = whole.filter(pc.invert(is_older))
    return whole


def _read_epoch(root: Place, epoch: int, *, transcripts: bool) -> EpochOutcome | None:
    seal = _find(root, "epochs", epoch)
    if seal is None:
        return None
    version = seal.fold.epochs[epoch] if seal.fold else _version_of(opened(seal.path))
    tables = {
        name: _read(
            *(_one(root, name, epoch), name, _columns(name, transcripts=transcripts), epoch),
            is_whole=version == VERSION,
        )
        if since(name) <= version
        else SCHEMAS[name].empty_table()
        for name in SCHEMAS
    }
    with _damage_told(root / "epochs"):
        return outcome_of({name: _whole(table, name) for name, table in tables.items()})


def _columns(name: str, *, transcripts: bool) -> list[str]:
    return [column for column in SCHEMAS[name].names if transcripts or column != "transcript"]


def _whole(table: pa.Table, name: str) -> pa.Table:
    """The table with octets that were left out as empty ones."""
    for column in SCHEMAS[name].names:
        if column not in table.column_names:
            table = table.append_column(column, pa.array([b""] * len(table), pa.binary()))
    return table


def _read_passed(root: Place, archived: ProvedEpoch) -> tuple[PassedProof, ...]:
    def columns(name: str, *paths: str) -> pa.Table:
        part = _one(root, name, archived.epoch, archived.day)
        file = opened(part.path)
        found = file.read_row_groups(_groups(file, part), ["epoch", *paths])
        return found.filter(pc.equal(found["epoch"], archived.epoch))

    try:
        verdicts = columns("verdicts", "executor_key", "severity")
        passed = set(verdicts.filter(pc.is_null(verdicts["severity"]))["executor_key"].to_pylist())
        proved = _proved(columns("proofs", "executor_key", "passed", "memory_bytes", "bandwidth_gb_s"))
        listed = _first_cards(
            columns("reports", "executor_key", "cards.list.element.model", "cards.list.element.vram_mib")
        )
        return tuple(
            PassedProof(key, *listed[key], *proved[key])
            for key in sorted(passed & proved.keys() & listed.keys())
        )
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise HistoryDamaged(f"{root} of epoch {archived.epoch}", str(error)) from error


def _find(root: Place, name: str, epoch: int, day: date | str | None = None) -> Part | None:
    """The file in which an epoch's rows of a table are: of two days that hold it, that of the later."""
    for folder in reversed(folders_of(root, name, day)):
        for part in parts_of(folder):
            if epoch in part.epochs:
                return replace(part, epochs=(epoch,))
    return None


def _one(root: Place, name: str, epoch: int, day: str | None = None) -> Part:
    found = _find(root, name, epoch, day)
    if found is None:
        missing = root / name / f"day={day or '*'}" / f"epoch-{epoch}.parquet"
        raise HistoryDamaged(str(missing), "it is missing")
    return found


def _opened_one(root: Place, name: str, epoch: int) -> tuple[Part, pq.ParquetFile]:
    part = _one(root, name, epoch)
    return part, opened(part.path)


def _proved(proofs: pa.Table) -> dict[str, tuple[int, float]]:
    """The least memory and the least bandwidth of each machine's cards; none of a machine whose card failed in shadow."""
    failed = set(proofs.filter(pc.invert(proofs["passed"]))["executor_key"].to_pylist())
    least: dict[str, tuple[int, float]] = {}
    columns = (proofs[name].to_pylist() for name in ("executor_key", "memory_bytes", "bandwidth_gb_s"))
    for key, memory_bytes, gb_s in zip(*columns, strict=True):
        if key in failed:
            continue
        known_bytes, known_gb_s = least.get(key, (memory_bytes, gb_s))
        least[key] = (min(memory_bytes, known_bytes), min(gb_s, known_gb_s))
    return least


def _first_cards(reports: pa.Table) -> dict[str, tuple[str, int]]:
    """Model and MiB of the first card of each machine that lists one."""
    cards = reports["cards"].combine_chunks()
    every = cards.values  # noqa: PD011  Arrow's, not pandas'
    models, sizes = every.field("model").to_pylist(), every.field("vram_mib").to_pylist()
    starts = cards.offsets.to_pylist()
    return {
        key: (models[start], sizes[start])
        for key, start, end in zip(reports["executor_key"].to_pylist(), starts, starts[1:], strict=False)
        if start < end
    }


def _read(
    part: Part,
    name: str,
    columns: Sequence[str] | None,
    epoch: int | None = None,
    *,
    is_whole: bool = False,
) -> pa.Table:
    """The rows that count of one file, in today's schema: columns that it lacks are null; `epoch` is always there.

    `is_whole`: today's code archived it, so that no null is in a column that knows none. Raises SchemaUnknown for a file of newer code, HistoryDamaged for one that is no Parquet of ours.
    """
    wanted = part if epoch is None else Part(part.path, part.day, (epoch,), part.fold)
    schema = _empty(name, columns).schema
    file = opened(part.path)
    with _damage_told(part.path):
        asked = [column for column in file.schema_arrow.names if column in schema.names]
        if wanted.is_filtered:
            table = file.read_row_groups(_groups(file, wanted), asked)
            table = table.filter(_is_of(table, wanted))
        else:
            table = _own(file.read(asked), wanted)
        if is_whole:
            _refuse_nulls(table, name)
        return _in_schema(table, schema)


def _refuse_nulls(table: pa.Table, name: str) -> None:
    """A null would silently be read as its column's default."""
    for column in table.column_names:
        if table[column].null_count and not SCHEMAS[name].field(column).nullable:
            raise ValueError(f"{column} is null in places")


def _is_of(table: pa.Table, part: Part) -> pa.ChunkedArray:
    """Whether each row is of one of the part's epochs."""
    return pc.is_in(table["epoch"], pa.array(part.epochs, pa.int64()))


def _own(table: pa.Table, part: Part) -> pa.Table:
    """The table, if all of its rows are of the part's epochs."""
    if not pc.all(_is_of(table, part), min_count=0).as_py():
        raise ValueError("it has rows of another epoch")
    return table


def _groups(file: pq.ParquetFile, part: Part) -> list[int]:
    """The row groups in which the part's epochs may be."""
    every = range(file.num_row_groups)
    return [at for at in every if part.fold is None or _may_hold(file.metadata.row_group(at), part.epochs)]


def _may_hold(group: pq.RowGroupMetaData, epochs: Sequence[int]) -> bool:
    told = group.column(0).statistics  # `epoch` is the first column of every table
    if told is None or not told.has_min_max or group.column(0).path_in_schema != "epoch":
        return True
    return any(told.min <= epoch <= told.max for epoch in epochs)


def opened(path: Place) -> pq.ParquetFile:
    """A file whose schema this code knows; nothing of it but its footer is read yet."""
    with _damage_told(path):
        file = parquet(path)
        version = _version_of(file)
    if version > VERSION:
        raise SchemaUnknown(f"{path} has schema {version}, this code knows {VERSION}: run the newer code")
    return file


def _version_of(file: pq.ParquetFile) -> int:
    return int(file.schema_arrow.metadata[b"schema_version"])


@contextmanager
def _damage_told(path: Place) -> Iterator[None]:
    """What reading a file can raise, as HistoryDamaged."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileGone(str(path), "it is not there any more") from error
    except (pa.ArrowException, OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise HistoryDamaged(str(path), str(error)) from error


def _empty(name: str, columns: Sequence[str] | None) -> pa.Table:
    """No rows of a table's columns that were asked for and `epoch`, in the schema's order."""
    empty = _in_schema(SCHEMAS[name].empty_table(), SCHEMAS[name])
    if columns is None:
        return empty
    missing = [column for column in columns if column not in empty.column_names]
    if missing:
        raise StorageError(f"{name} has no column {missing[0]!r}, it has {', '.join(empty.column_names)}")
    return empty.select([column for column in empty.column_names if column == "epoch" or column in columns])


def _in_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns: Iterable[pa.ChunkedArray | pa.Array] = (
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    )
    loose = pa.schema([field.with_nullable(nullable=True) for field in schema], metadata=schema.metadata)
    return pa.table(list(columns), schema=loose)


def _with_day(table: pa.Table, day: str) -> pa.Table:
    return table.append_column("day", pa.array([day] * len(table), pa.string()))
