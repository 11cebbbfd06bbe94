"""SQL over the history: exactly the rows that our readers see, and nothing else within reach."""

import threading
from dataclasses import replace

import pandas as pd
import pytest

from storage import query as queries
from storage.errors import HistoryDamaged, QueryRefused, SchemaUnknown, StorageError
from storage.history import read_table, write_epoch
from storage.places import parquet
from storage.query import Limits, query
from storage.schemas import SCHEMAS, VERSION
from tests.s3 import s3_folder
from tests.storage.histories import as_schema, fold, outcome, rows, write_days, write_parquet


@pytest.fixture(scope="module", params=["disk", pytest.param("s3", marks=pytest.mark.long)])
def history(request, tmp_path_factory):
    """Three days: one folded whole, one folded with an epoch archived again, one not folded; epochs of all schemas."""
    folder = tmp_path_factory.mktemp("it's a history")
    root = folder if request.param == "disk" else s3_folder(folder)
    write_days(root)
    as_schema(root, 3, 1)
    as_schema(root, 4, 2)
    fold(root, before=outcome(7).started_at.date())
    write_epoch(root, outcome(4, machines=3))
    return root


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_view_has_the_rows_of_our_reader(history, name):
    """Every table, every column with its type, every row once, whatever is folded, archived again or old."""
    ours = read_table(history, name)

    found = query(history, f'select * from "{name}" order by epoch')

    assert list(found.columns) == [*SCHEMAS[name].names, "day"]
    keys = [column for column in ("epoch", "day", "executor_key", "kind", "uid") if column in ours]
    assert sorted(map(tuple, found[keys].to_numpy())) == sorted(map(tuple, ours[keys].to_numpy()))
    assert found.dtypes["epoch"] == ours.dtypes["epoch"]


def test_an_empty_history_has_all_tables(root):
    """A table without a file has its columns and no rows."""
    found = query(root, "select count(*) as n, sum(score) as s from scores where reasons[1].code = 'X'")

    assert (found["n"][0], pd.isna(found["s"][0])) == (0, True)
    assert len(query(root, "show tables")) == len(SCHEMAS)


def test_a_column_that_old_files_lack_is_null(root):
    """Also a field within a list of structs."""
    write_days(root, epochs=2)
    (path,) = (root / "scores").glob("day=*/epoch-1.parquet")
    table = parquet(path).read()
    write_parquet(path, table.drop_columns(["uptime"]))

    found = query(root, "select epoch, uptime, reasons[1].code as code from scores order by epoch")

    assert found["uptime"].isna().tolist() == [True, True, False, False]
    assert set(found["code"]) == {"GPU_VRAM_MISMATCH"}


def test_a_history_of_old_files_alone_has_all_columns(root):
    """What nobody knew then is null, also within a list of structs, and tables of later schemas are empty."""
    write_days(root, epochs=1)
    as_schema(root, 1, 1)

    found = query(root, "select formula, reasons[1].code as code, reasons[1].is_shadow as s from scores")

    assert found["code"].tolist() == ["GPU_VRAM_MISMATCH"] * 2
    assert found[["formula", "s"]].isna().all().all()
    assert query(root, "select count(*) as n from standings")["n"].tolist() == [0]


def test_sums_are_plain_numbers(history):
    """A sum of integers is an integer, a decimal literal a float, a time is in UTC."""
    found = query(
        history, "select sum(card_count) as cards, 0.5 as half, max(started_at) as at from scores, epochs"
    )

    assert found.dtypes["cards"] == pd.Int64Dtype()
    assert (found.dtypes["half"], str(found.dtypes["at"].tz)) == ("float64", "UTC")


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('/etc/passwd')",
        "select * from read_parquet('https://example.org/a.parquet')",
        "select * from glob('/etc/*')",
        "select * from sniff_csv('/etc/passwd')",
        "copy (select 1) to '/tmp/written.csv'",
        "explain analyze copy (select 1) to '/tmp/written.csv'",
        "create table t as select 1",
        "set memory_limit = '100GB'",
        "set enable_external_access = true",
        "attach '/tmp/other.db'",
        "install httpfs",
        "load httpfs",
        "export database '/tmp/written'",
        "call enable_logging()",
        "select * from enable_logging('QueryLog', storage = 'file')",
        "select * from query('select 1')",
        "select 1; select 2",
        "",
        "selec",
        "select nope from scores",
        "select * from frame",
    ],
)
def test_nothing_but_the_history_is_reached(history, sql):
    """No other file, no network, no extension, no setting, no writing, no variable of this process: one SELECT."""
    frame = pd.DataFrame({"secret": [1]})

    with pytest.raises(QueryRefused):
        query(history, sql)

    assert len(frame) == 1


def test_the_history_is_not_written(history):
    """Not even a file that a query may read."""
    path = next((history / "scores").glob("day=*/*.parquet"))
    before = path.read_bytes()

    with pytest.raises(QueryRefused, match="one SELECT is expected, got COPY: the history is only read"):
        query(history, f"copy scores to '{str(path).replace(chr(39), 2 * chr(39))}'")

    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("sql", "limits", "said"),
    [
        (
            "select count(*) from range(1000000) a, range(1000000) b",
            Limits(seconds=0.3),
            "stopped after 0.3 s",
        ),
        (
            "select * from range(30000000) t(a) order by hash(a)",
            Limits(memory_bytes=64 << 20),
            "needs more than 64 MiB of memory",
        ),
        ("select a from range(100000000000) t(a) where hash(a) % 10007 = 1", Limits(seconds=0.3), "0.3 s"),
        ("select if(a = 5000000, error('no'), a) from range(10000000) t(a)", Limits(), "no"),
        ("select * from range(3000000)", Limits(result_bytes=1 << 20), "result is larger than 1 MiB"),
    ],
)
def test_a_query_is_bounded(history, sql, limits, said):
    """In time, in memory, and in what comes out; the sentence says the mend."""
    with pytest.raises(QueryRefused, match=said):
        query(history, sql, limits)


def test_a_mistake_points_at_its_place(history):
    """What was meant, as far as it can be guessed."""
    with pytest.raises(QueryRefused, match=r'"scor" not found(.|\n)*"score"(.|\n)*LINE 1'):
        query(history, "select scor from scores")


def test_damage_and_newer_files_are_named(root):
    """As our readers name them: a file of newer code is not guessed at."""
    write_days(root, epochs=2)
    (path,) = (root / "scores").glob("day=*/epoch-2.parquet")
    table = parquet(path).read()
    write_parquet(path, table.replace_schema_metadata({"schema_version": str(VERSION + 1)}))

    with pytest.raises(SchemaUnknown, match=r"epoch-2\.parquet has schema 4, this code knows 3"):
        query(root, "select * from scores")

    path.write_bytes(b"PAR1")
    with pytest.raises(StorageError, match=r"epoch-2\.parquet"):
        query(root, "select * from scores")


def test_a_lost_file_is_damage(root):
    """A fold that the manifest counts on and that is gone is told."""
    write_days(root, epochs=2)
    fold(root)
    next((root / "scores").glob("day=*/fold-*")).unlink()

    with pytest.raises(HistoryDamaged, match="fold-"):
        query(root, "select * from scores")


def test_a_path_that_reads_like_a_pattern_is_refused(tmp_path):
    """DuckDB would look for other files; on S3, where it reads none itself, an address has no such characters."""
    write_days(tmp_path / "history[1]", epochs=1)

    with pytest.raises(StorageError, match=r"can't read a history under a path with"):
        query(tmp_path / "history[1]", "select * from scores")


def test_a_path_that_reads_like_a_column_is_refused(tmp_path):
    """DuckDB would give every epoch the number of the folder above."""
    write_days(tmp_path / "epoch=9", epochs=1)

    with pytest.raises(StorageError, match=r"can't read a history under a path with ="):
        query(tmp_path / "epoch=9", "select * from scores")


def test_queries_beside_a_compaction_see_every_row_once(root, monkeypatch):
    """While days are folded and archived again, each answer has each row once."""
    write_days(root)
    expected, done = rows(root), threading.Event()
    assert queries.LOOKS > 10

    def keep_folding():
        for _ in range(3):
            fold(root, tables=["scores"])
            for epoch in (1, 4, 7):
                write_epoch(root, replace(outcome(epoch)))
        done.set()

    writer = threading.Thread(target=keep_folding)
    writer.start()
    while not done.is_set():
        found = query(root, "select epoch, executor_key from scores order by all")
        assert list(found.itertuples(index=False, name=None)) == expected
    writer.join()
