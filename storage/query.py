"""SQL over the history: a view for each table, exactly the rows that our readers see, and nothing else to be reached.

    query(Path(".local/history"), "select model, count(*) as machines from scores group by all")   # a pandas DataFrame

DuckDB reads the Parquet files themselves, those on S3 through Arrow. It is told which ones count before anything of the query
is looked at, and is then closed off: no other file, no network, no extension, no setting, one statement, and that a SELECT.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pandas as pd
import pyarrow as pa

from storage.errors import HistoryDamaged, QueryRefused, SchemaUnknown, StorageError
from storage.folders import LOOKS, Part, table_parts
from storage.history import opened
from storage.places import Place, each
from storage.s3 import S3Path
from storage.schemas import SCHEMAS, VERSION

ROWS_AT_ONCE = 100_000
_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.binary(): "BLOB",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
}
_NOT_OFFERED = re.compile(
    r"\b(query|query_table|json_execute_serialized_sql|(enable|disable)_logging|truncate_duckdb_logs"
    r"|arrow_scan|arrow_scan_dumb|pandas_scan|python_map_function|seq_scan)\b",
    re.IGNORECASE,
)
"""Functions that run text as SQL, reach into this process, or write a log; an analyst needs none of them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may take."""

    seconds: float = 60.0
    memory_bytes: int = 2 << 30
    result_bytes: int = 1 << 30
    """Of the rows that come out, in Arrow's form."""
    threads: int | None = None
    """As many as there are cores when None."""


DEFAULT_LIMITS = Limits()


def query(root: Place, sql: str, limits: Limits = DEFAULT_LIMITS) -> pd.DataFrame:
    """What one SELECT over the history gives, as pandas has it: integers as nullable Int64, times in UTC.

    QueryRefused when it is no single SELECT, is wrong, or takes more than the limits; its text is for whoever wrote it.
    HistoryDamaged, SchemaUnknown when a file can't be read.
    """
    table = query_arrow(root, sql, limits)
    try:
        frame: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    except pa.ArrowException as error:
        raise QueryRefused(f"its result has no form in pandas, cast it: {_first_line(error)}") from error
    return frame


def query_arrow(root: Place, sql: str, limits: Limits = DEFAULT_LIMITS) -> pa.Table:
    """The same as an Arrow table."""
    refused = _NOT_OFFERED.search(sql)
    if refused is not None:
        raise QueryRefused(f"{refused[0]} is not offered here, also not within quotes")
    return query_views({name: Source(root, name) for name in SCHEMAS}, sql, limits)


class Source(NamedTuple):
    """A table of a history."""

    root: Place
    table: str


def query_views(views: Mapping[str, Source], sql: str, limits: Limits = DEFAULT_LIMITS) -> pa.Table:
    """The same over views of any names, of one history or of several."""
    named = {view: source for view, source in views.items() if _is_named(view, sql)}
    for _ in range(LOOKS):
        parts = _parts(named)
        try:
            return _run(
                {view: (source.table, parts.get(view, ())) for view, source in views.items()}, sql, limits
            )
        except (HistoryDamaged, duckdb.Error) as error:
            if parts == _parts(named):
                raise _told(error, parts, limits) from error
    raise HistoryDamaged("the history", f"its files changed {LOOKS} times in a row")


def _is_named(view: str, sql: str) -> bool:
    """Whether a view's files are needed: opening all footers is work, and there are many."""
    return re.search(rf"\b{view}\b", sql, re.IGNORECASE) is not None


Parts = Mapping[str, Sequence[Part]]
"""The files that count of each view that is asked for."""


def _parts(named: Mapping[str, Source]) -> Parts:
    return {view: table_parts(_root(source), source.table) for view, source in named.items()}


def _root(source: Source) -> Place:
    """Absolute; DuckDB would take a folder `epoch=9` above the history for the column of that name."""
    root = source.root.absolute()
    if "=" in str(root):
        raise StorageError(f"{root}: SQL can't read a history under a path with =")
    return root


def _told(error: HistoryDamaged | duckdb.Error, parts: Parts, limits: Limits) -> StorageError:
    """What DuckDB said, for whoever can mend it."""
    lost = [part.path for found in parts.values() for part in found if not part.path.exists()]
    if lost:
        return HistoryDamaged(str(lost[0]), "it is not there any more")
    match error:
        case HistoryDamaged():
            return error
        case duckdb.IOException():
            return HistoryDamaged("a file of the history", _first_line(error))
        case duckdb.OutOfMemoryException():
            mib = limits.memory_bytes >> 20
            return QueryRefused(f"it needs more than {mib} MiB of memory: ask for fewer days or columns")
        case _:
            return QueryRefused(str(error).strip())


def _named(sql: str) -> list[str]:
    """The tables whose files are needed: each that the text names; a file's footer is work, and there are many."""
    return [name for name in SCHEMAS if re.search(rf"\b{name}\b", sql, re.IGNORECASE)]


Views = Mapping[str, tuple[str, Sequence[Part]]]
"""Of each view, the table's name and the files that count."""


def _run(views: Views, sql: str, limits: Limits) -> pa.Table:
    with duckdb.connect(":memory:") as database, _in_time(database, limits.seconds):
        paths = (part.path for _, parts in views.values() for part in parts)
        _close_off(database, (path for path in paths if isinstance(path, Path)), limits)
        _make_views(database, views)
        _refuse_all_but_a_select(database, sql)
        return _friendly(_fetched(database.execute(sql), limits))


def _make_views(database: duckdb.DuckDBPyConnection, views: Views) -> None:
    for view, (table, parts) in views.items():
        try:
            _refuse_newer(database, parts)
            database.execute(f'create view "{view}" as {_view(database, table, parts)}')
        except (duckdb.InterruptException, duckdb.OutOfMemoryException):
            raise
        except duckdb.Error as error:
            raise HistoryDamaged(f"a file of {table}", _first_line(error)) from error
    database.execute("set lock_configuration = true")


def _close_off(database: duckdb.DuckDBPyConnection, files: Iterable[Path], limits: Limits) -> None:
    database.execute(f"set allowed_paths = {_list(files)}")
    for setting, value in {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        "allow_community_extensions": "false",
        "temp_directory": "''",
        "TimeZone": "'UTC'",
        "memory_limit": f"'{limits.memory_bytes}B'",
        "enable_external_access": "false",
        "enable_progress_bar": "false",
        **({} if limits.threads is None else {"threads": str(limits.threads)}),
    }.items():
        database.execute(f"set {setting} = {value}")


def _refuse_all_but_a_select(database: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = database.extract_statements(sql)
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        found = ", ".join(kind.name for kind in kinds) or "nothing"
        raise QueryRefused(f"one SELECT is expected, got {found}: the history is only read")


@contextmanager
def _in_time(database: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    is_late = threading.Event()

    def stop() -> None:
        is_late.set()
        database.interrupt()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.InterruptException as error:
        if not is_late.is_set():
            raise
        raise QueryRefused(
            f"it was stopped after {seconds:g} s: ask for fewer days, or allow more time"
        ) from error
    finally:
        timer.cancel()


def _fetched(result: duckdb.DuckDBPyConnection, limits: Limits) -> pa.Table:
    reader = result.to_arrow_reader(ROWS_AT_ONCE)
    batches: list[pa.RecordBatch] = []
    size = 0
    for batch in _streamed(reader):
        size += batch.nbytes
        if size > limits.result_bytes:
            raise QueryRefused(
                f"its result is larger than {limits.result_bytes >> 20} MiB: aggregate, or ask for fewer columns or days"
            )
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _streamed(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches; what DuckDB raises in the middle of them comes through Arrow as text and gets its class back."""
    try:
        yield from reader
    except (OSError, pa.ArrowException) as error:
        kinds = (kind for start, kind in _STREAMED_ERRORS.items() if str(error).startswith(start))
        raise next(kinds, duckdb.Error)(str(error)) from error


_STREAMED_ERRORS = {
    "IO Error": duckdb.IOException,
    "INTERRUPT Error": duckdb.InterruptException,
    "Out of Memory Error": duckdb.OutOfMemoryException,
}


def _friendly(table: pa.Table) -> pa.Table:
    """Sums of integers as integers, not as decimals of 38 digits, where they fit; other decimals as floats."""
    for at, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(at, field.name, _plain(table.column(at)))
    return table


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.int64() if column.type.scale == 0 else pa.float64())
    except pa.ArrowInvalid:
        return column.cast(pa.float64())


# --- views -----------------------------------------------------------------------------------------


def _view(database: duckdb.DuckDBPyConnection, name: str, parts: Sequence[Part]) -> str:
    """A SELECT of a table's rows that count, with today's columns and `day`, whatever its files lack."""
    schema = SCHEMAS[name]
    typed = ", ".join(f'null::{_type(field.type)} as "{field.name}"' for field in schema)
    sources = [f"select {typed}, null::VARCHAR as day where false"]
    whole = [part for part in parts if not part.is_filtered]
    if whole:
        sources.append(f"select * from {_files(database, name, whole)}")  # noqa: S608  our own paths, quoted
    for part in parts:
        if part.is_filtered:
            counting = ", ".join(map(str, part.epochs))
            sources.append(f"select * from {_files(database, name, [part])} where epoch in ({counting})")  # noqa: S608  the same
    columns = ", ".join(f'"{column}"' for column in (*schema.names, "day"))
    return f"select {columns} from ({' union all by name '.join(sources)})"  # noqa: S608  our own schema


def _files(database: duckdb.DuckDBPyConnection, name: str, parts: Sequence[Part]) -> str:
    """What files are to a SELECT; those on S3 are lent by Arrow, which fetches no column and no row group in vain."""
    local = [part.path for part in parts if isinstance(part.path, Path)]
    if local:
        options = "union_by_name = true, hive_partitioning = true, hive_types = {'day': VARCHAR}"
        return f"read_parquet({_list(local)}, {options})"
    lent = f"lent_{secrets.token_hex(8)}"
    database.register(lent, _dataset(name, parts))
    return lent


def _dataset(name: str, parts: Sequence[Part]) -> Any:
    """Files on S3 with today's columns and their day."""
    from pyarrow import dataset  # noqa: PLC0415  only a history on S3 needs it

    paths = [part.path for part in parts if isinstance(part.path, S3Path)]
    fields = [field.with_nullable(nullable=True) for field in SCHEMAS[name]]
    return dataset.FileSystemDataset.from_paths(
        [path.source for path in paths],
        schema=pa.schema([*fields, pa.field("day", pa.string())]),
        format=dataset.ParquetFileFormat(),
        filesystem=paths[0].filesystem,
        partitions=[dataset.field("day") == part.day for part in parts],
    )


def _refuse_newer(database: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> None:
    local = [part.path for part in parts if isinstance(part.path, Path)]
    if local:
        found = database.execute(
            f"""select file_name, value from parquet_kv_metadata({_list(local)})
            where key = 'schema_version' and try_cast(value::VARCHAR as BIGINT) > {VERSION} limit 1"""  # noqa: S608
        ).fetchone()
        if found is not None:
            version = found[1].decode()
            raise SchemaUnknown(
                f"{found[0]} has schema {version}, this code knows {VERSION}: run the newer code"
            )
    else:
        each(opened, [part.path for part in parts])


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f'"{field.name}" {_type(field.type)}' for field in kind) + ")"
    return _TYPES[kind]


def _list(files: Iterable[Path]) -> str:
    return "[" + ", ".join(map(_quoted, files)) + "]"


def _quoted(path: Path) -> str:
    text = str(path)
    if any(mark in text for mark in "*?["):
        raise StorageError(f"{text}: SQL can't read a history under a path with *, ? or [")
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
