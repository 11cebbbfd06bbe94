"""The history: Parquet (zstd) in folders by day, a file per table and epoch.

    <root>/<table>/day=YYYY-MM-DD/epoch-<n>.parquet

A file is written under a hidden name, flushed to the disk and then renamed, so that a reader never sees half
of one; writing an epoch again replaces its files. `epochs` is written last: an epoch that it lists is whole.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.convert import outcome_of, tables_of
from storage.errors import HistoryDamaged, SchemaUnknown, StorageError
from storage.records import EpochOutcome, PassedProof, ProvedEpoch
from storage.schemas import SCHEMAS, VERSION, since, text_columns

ZSTD_LEVEL = 6
MAX_TRANSCRIPT_BYTES = 4 << 20
TRANSCRIPTS_AT_ONCE = 64
"""Bounds the memory of whoever goes through an epoch's transcripts: one is at most 4 MiB, most are far below 1 MiB."""


def write_epoch(root: Path, outcome: EpochOutcome) -> list[Path]:
    """Archive an epoch; the paths written, one per table. Done twice, it replaces what was there.

    Raises StorageError when the disk does not take it; then no file is half there.
    """
    day = outcome.started_at.astimezone(UTC).date().isoformat()
    tables = tables_of(outcome)
    try:
        with _alone(root):
            return [_write_table(root / name, day, outcome.epoch, table) for name, table in tables.items()]
    except OSError as error:
        raise StorageError(f"the history at {root} cannot be written: {error.strerror or error}") from error


def read_table(
    root: Path,
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
    root: Path,
    name: str,
    *,
    epoch: int | None = None,
    day: date | str | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """The same as an Arrow table: lists of structs, such as reasons, take a tenth of the memory that pandas needs."""
    files = _files(root, name, epoch, day)
    schema = _schema_of(name, columns)
    tables = [_with_day(_read(path, schema), path) for path in files]
    return pa.concat_tables(tables) if tables else _with_day(schema.empty_table(), None)


def read_epoch(root: Path, epoch: int, *, transcripts: bool = True) -> EpochOutcome | None:
    """Everything that an archived epoch found out, None when it is not archived.

    Without `transcripts` those of the verdicts are left empty: they are by far the most of it.
    """
    if not _files(root, "epochs", epoch, None):
        return None
    left_out = frozenset() if transcripts else frozenset({"transcript"})
    version = _version_of(_opened(_one(root, "epochs", epoch)))
    tables = {
        name: _read(_one(root, name, epoch), SCHEMAS[name], left_out if name == "verdicts" else frozenset())
        if since(name) <= version
        else SCHEMAS[name].empty_table()
        for name in SCHEMAS
    }
    with _damage_told(root / "epochs"):
        return outcome_of(tables)


def read_transcripts(root: Path, epoch: int) -> Iterator[tuple[str, bytes]]:
    """Executor keys and transcripts of an archived epoch, in the order of its verdicts, few of them in memory at once.

    Raises what `read_epoch` raises; HistoryDamaged in the middle when a later part of the file can't be read.
    """
    path = _one(root, "verdicts", epoch)
    file = _opened(path)
    with _damage_told(path):
        for batch in file.iter_batches(TRANSCRIPTS_AT_ONCE, columns=["executor_key", "transcript"]):
            keys, transcripts = batch["executor_key"].cast(pa.string()), batch["transcript"].cast(pa.binary())
            longest = pc.max(pc.binary_length(transcripts)).as_py() or 0
            if longest > MAX_TRANSCRIPT_BYTES:  # compressed it may be a thousandth of that
                raise ValueError(f"a transcript of {longest} bytes, at most {MAX_TRANSCRIPT_BYTES}")
            for key, content in zip(keys.to_pylist(), transcripts.to_pylist(), strict=True):
                yield str(key), content or b""


def archived_epochs(root: Path) -> list[int]:
    """The numbers of all archived epochs, ascending."""
    return [_epoch_of(path) for path in _files(root, "epochs", None, None)]


def archived_since(root: Path, since: str) -> list[ProvedEpoch]:
    """The archived epochs from this day on (YYYY-MM-DD, UTC), newest first; no file is opened."""
    days = sorted((f for f in (root / "epochs").glob("day=*") if f.name >= f"day={since}"), reverse=True)
    epochs = [ProvedEpoch(_epoch_of(path), _day_of(path)) for f in days for path in f.glob("epoch-*.parquet")]
    return sorted(epochs, key=lambda archived: -archived.epoch)


def read_passed(root: Path, archived: ProvedEpoch) -> tuple[PassedProof, ...]:
    """The machines whose proof passed in an archived epoch, with the first card listed and the slowest proved.

    Of three files the few columns needed are read, transcripts are not. Raises HistoryDamaged, SchemaUnknown.
    """

    def columns(name: str, *paths: str) -> pa.Table:
        path = root / name / f"day={archived.day}" / f"epoch-{archived.epoch}.parquet"
        return _opened(path).read(columns=list(paths))

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
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise HistoryDamaged(f"{root} of epoch {archived.epoch}", str(error)) from error


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One writer at a time: two runs may archive one epoch at once, the second over the first."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".writing").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_table(folder: Path, day: str, epoch: int, table: pa.Table) -> Path:
    path = folder / f"day={day}" / f"epoch-{epoch}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    # One name for all tries: what a killed writer leaves, the next one that archives the epoch writes over.
    hidden = path.with_name(f".{path.name}.part")
    try:
        with hidden.open("wb") as file:
            pq.write_table(
                table,
                file,
                compression="zstd",
                compression_level=ZSTD_LEVEL,
                use_dictionary=text_columns(table.schema),
            )
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
    _flush_folder(path.parent)
    for other in folder.glob(f"day=*/{path.name}"):
        if other != path:
            other.unlink()
    return path


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(root: Path, name: str, epoch: int | None, day: date | str | None) -> list[Path]:
    """The files of a table, by epoch."""
    if name not in SCHEMAS:
        raise StorageError(f"the history has no table {name!r}, it has {', '.join(sorted(SCHEMAS))}")
    wanted_day = "*" if day is None else date.fromisoformat(str(day)).isoformat()
    wanted_epoch = "*" if epoch is None else str(epoch)
    return sorted((root / name).glob(f"day={wanted_day}/epoch-{wanted_epoch}.parquet"), key=_epoch_of)


def _epoch_of(path: Path) -> int:
    return int(path.stem.removeprefix("epoch-"))


def _one(root: Path, name: str, epoch: int) -> Path:
    found = _files(root, name, epoch, None)
    if not found:
        raise HistoryDamaged(str(root / name), f"the file of epoch {epoch} is missing")
    return found[0]


def _day_of(path: Path) -> str:
    return path.parent.name.removeprefix("day=")


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


def _schema_of(name: str, columns: Sequence[str] | None) -> pa.Schema:
    """Today's schema of a table, or those columns of it."""
    whole = SCHEMAS[name]
    if columns is None:
        return whole
    return pa.schema([whole.field(column) for column in columns], metadata=whole.metadata)


def _read(path: Path, schema: pa.Schema, left_out: frozenset[str] = frozenset()) -> pa.Table:
    """One file in this schema: columns that it lacks are null, octets that are left out are empty.

    Raises SchemaUnknown for a file of newer code, HistoryDamaged for one that is no Parquet of ours.
    """
    file = _opened(path)
    with _damage_told(path):
        wanted = frozenset(schema.names) - left_out
        table = file.read([column for column in file.schema_arrow.names if column in wanted])
        for column in left_out:
            table = table.append_column(column, pa.array([b""] * len(table), pa.binary()))
        return _in_schema(table, schema)


def _opened(path: Path) -> pq.ParquetFile:
    """A file whose schema this code knows; nothing of it but its footer is read yet."""
    with _damage_told(path):
        file = pq.ParquetFile(path)
        version = _version_of(file)
    if version > VERSION:
        raise SchemaUnknown(f"{path} has schema {version}, this code knows {VERSION}: run the newer code")
    return file


def _version_of(file: pq.ParquetFile) -> int:
    return int(file.schema_arrow.metadata[b"schema_version"])


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """What reading a file can raise, as HistoryDamaged."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise HistoryDamaged(str(path), str(error)) from error


def _in_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns: Iterable[pa.ChunkedArray | pa.Array] = (
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    )
    loose = pa.schema([field.with_nullable(nullable=True) for field in schema], metadata=schema.metadata)
    return pa.table(list(columns), schema=loose)


def _with_day(table: pa.Table, path: Path | None) -> pa.Table:
    day = _day_of(path) if path else ""
    return table.append_column("day", pa.array([day] * len(table), pa.string()))
