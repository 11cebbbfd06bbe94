"""A month of history for a thousand executors: bytes a row, and five analysts' questions against the same in SQLite."""

from __future__ import annotations

import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from storage.schemas import SCHEMAS
from tests.bench.archive import DAYS, EPOCHS_A_DAY, MACHINES, Month, write_day
from tests.bench.paths import FOLDER, REPOSITORY
from tests.bench.questions import COLUMNS, QUESTIONS
from tests.bench.rows import MS, Group, Row

RUNS = 3
NAMES = ("history_bytes_per_row", *(f"history_query_{number}" for number in range(1, len(QUESTIONS) + 1)))
PLACE = FOLDER / "bench-history"


def _history() -> Iterator[Row]:
    shutil.rmtree(PLACE, ignore_errors=True)
    try:
        yield from _measured(PLACE / "history", PLACE / "floor.sqlite")
    finally:
        shutil.rmtree(PLACE, ignore_errors=True)


def _measured(root: Path, floor: Path) -> Iterator[Row]:
    root.mkdir(parents=True)
    began_s = time.perf_counter()
    sizes, rows, one_day = _generate(root, floor)
    took_s = time.perf_counter() - began_s
    per_row = {name: sizes[name] / rows[name] for name in SCHEMAS if rows[name]}
    note = (
        f"of scores; {DAYS} days x {EPOCHS_A_DAY} epochs x {MACHINES:,} executors, "
        f"{sum(rows.values()):,} rows in {sum(sizes.values()) / 1e6:,.0f} MB, made with the floor in {took_s:.0f} s; "
        + ", ".join(f"{name} {size:.1f}" for name, size in per_row.items())
        + "; transcripts not counted; floor: all columns of scores of one day in SQLite"
    )
    yield Row(NAMES[0], per_row["scores"], "bytes", one_day, 1, note)
    for number, question in enumerate(QUESTIONS, 1):
        ours, theirs = _race(root, floor, number)
        note = f"{question.title} Cold, a fresh process each; floor: SQLite over the same rows, in {theirs:.2f} s"
        yield Row(NAMES[number], ours * MS, "ms", theirs * MS, RUNS, note)


def _generate(root: Path, floor: Path) -> tuple[Counter[str], Counter[str], float]:
    """Bytes and rows of each table, and SQLite's bytes for a row of scores with all columns."""
    month, sizes, rows = Month(), Counter[str](), Counter[str]()
    with closing(sqlite3.connect(floor)) as database:
        _prepare(database)
        for number in range(DAYS):
            for name in SCHEMAS:
                table = month.day(name, number)
                path = write_day(root, name, number, table)
                sizes[name] += path.stat().st_size
                rows[name] += len(table)
                if name in COLUMNS:
                    _insert(
                        database,
                        name,
                        table.append_column("day", pa.array([path.parent.name[4:]] * len(table))),
                    )
            database.commit()
    return sizes, rows, _bytes_in_sqlite(floor.with_name("one-day.sqlite"), month.day("scores", 0))


def _prepare(database: sqlite3.Connection) -> None:
    database.execute("pragma journal_mode = off")
    database.execute("pragma synchronous = off")
    for name, columns in COLUMNS.items():
        database.execute(f"create table {name} ({', '.join(columns)})")
    database.execute("create table reasons (epoch, executor_key, code, severity, is_shadow)")


def _insert(database: sqlite3.Connection, name: str, table: pa.Table) -> None:
    columns = COLUMNS[name]
    _fill(database, name, [table[column].to_pylist() for column in columns])
    if name == "scores":
        told = zip(
            table["epoch"].to_pylist(),
            table["executor_key"].to_pylist(),
            table["reasons"].to_pylist(),
            strict=True,
        )
        reasons = [
            (epoch, key, r["code"], r["severity"], r["is_shadow"])
            for epoch, key, listed in told
            for r in listed
        ]
        database.executemany("insert into reasons values (?, ?, ?, ?, ?)", reasons)


def _fill(database: sqlite3.Connection, name: str, columns: Sequence[list[Any]]) -> None:
    places = ", ".join("?" * len(columns))
    database.executemany(f"insert into {name} values ({places})", zip(*columns, strict=True))


def _bytes_in_sqlite(path: Path, scores: pa.Table) -> float:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"create table scores ({', '.join(scores.column_names)})")
        columns = [scores[name].to_pylist() for name in scores.column_names]
        reasons = scores.column_names.index("reasons")
        columns[reasons] = [json.dumps(listed) for listed in columns[reasons]]
        _fill(database, "scores", columns)
        database.commit()
    return path.stat().st_size / len(scores)


def _race(root: Path, floor: Path, number: int) -> tuple[float, float]:
    """Median seconds of a question, ours and SQLite's, in turns; both must answer alike."""
    ours, theirs = [], []
    for _ in range(RUNS):
        mine, other = _asked("duckdb", root, number), _asked("sqlite", floor, number)
        assert len(mine["rows"]) == len(other["rows"]) > 0, (number, mine["rows"][:3], other["rows"][:3])
        ours.append(mine["seconds"])
        theirs.append(other["seconds"])
    return statistics.median(ours), statistics.median(theirs)


def _asked(kind: str, place: Path, number: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.asking", kind, str(place), str(number)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


GROUPS = (Group(NAMES, _history),)
