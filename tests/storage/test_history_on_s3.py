"""The history on S3: what readers see is what they see on a disk, whatever happens on the way."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from storage.errors import HistoryDamaged, StorageError
from storage.history import archived_epochs, read_epoch, read_table, write_epoch
from storage.query import query
from storage.retention import Keep, forget, forgettable
from storage.s3 import S3Path, s3_path
from tests.s3 import s3_environment, s3_folder
from tests.storage.histories import fold, manifest, outcome, plain_rows, rows, seen

SCORES = "select epoch, day, executor_key, score, reasons from scores order by all"
TODAY = date(2026, 8, 4)


@pytest.fixture
def bucket(tmp_path):
    """An empty history on S3."""
    return s3_folder(tmp_path)


def test_a_life_on_s3_is_one_on_a_disk(bucket, tmp_path):
    """Archived, read, asked in SQL, folded, archived again and forgotten: at every step both histories tell the same."""
    disk = tmp_path / "disk"
    for root in (bucket, disk):
        for epoch in (1, 2, 3):
            write_epoch(root, outcome(epoch))
    assert seen(bucket) == seen(disk)
    pd.testing.assert_frame_equal(query(bucket, SCORES), query(disk, SCORES))

    for root in (bucket, disk):
        fold(root, tables=["scores", "epochs", "verdicts"])
        write_epoch(root, outcome(2, machines=3))
    assert len(manifest(bucket, "scores", "2026-08-01")["folds"]) == 1
    assert (rows(bucket), read_epoch(bucket, 2)) == (rows(disk), read_epoch(disk, 2))
    pd.testing.assert_frame_equal(query(bucket, SCORES), query(disk, SCORES))

    for root in (bucket, disk):
        for old in forgettable(root, Keep(days=1, transcript_days=0), TODAY):
            if old.table in {"scores", "epochs", "verdicts"}:
                forget(root, old)
    assert archived_epochs(bucket) == archived_epochs(disk) == [3]
    assert plain_rows(bucket) == rows(bucket) == rows(disk)
    assert read_epoch(bucket, 3) == read_epoch(disk, 3)


def test_a_query_of_a_file_that_is_lost_says_which(bucket):
    """As on a disk: never fewer rows in silence."""
    write_epoch(bucket, outcome(1))
    fold(bucket, tables=["scores"])
    next(bucket.glob("scores/day=*/fold-*")).unlink()

    with pytest.raises(HistoryDamaged, match="not there any more"):
        query(bucket, SCORES)
    with pytest.raises(HistoryDamaged):
        read_table(bucket, "scores")


def test_what_breaks_off_is_not_put_there(bucket):
    """A writer that fails half way leaves no object, not even a hidden one."""

    def half():
        with (bucket / ".hidden").written() as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()

    assert not (bucket / ".hidden").exists()


def test_who_has_no_state_does_not_write(bucket):
    """S3 has no locks: without the database that keeps writers apart, a history there is only read."""
    bare = s3_path(str(bucket), s3_environment())

    with pytest.raises(StorageError, match="only beside a state"):
        write_epoch(bare, outcome(1))
    assert archived_epochs(bare) == []


def test_a_bucket_that_is_not_there_is_said(tmp_path):
    """As a disk that does not take it: our trouble, in one sentence."""
    nowhere = s3_path("s3://no-such-bucket/x", s3_environment(), f"sqlite:///{tmp_path}/state.sqlite")

    with pytest.raises(StorageError, match="cannot be written"):
        write_epoch(nowhere, outcome(1))


@contextmanager
def dying(act: str, state: str) -> Iterator[Callable[[S3Path, int], tuple[int, str]]]:
    """How to do it in a process that is killed: its exit status, and the count of its requests if it lived."""
    words = [sys.executable, "-m", "tests.storage.dying_on_s3", act, state]
    here = Path(__file__).parents[2]
    environment = os.environ | s3_environment() | {"PYTHONPATH": str(here)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=here, env=environment, text=True, **pipes) as process:

        def do(root: S3Path, line: int) -> tuple[int, str]:
            process.stdin.write(f"{root} {line}\n")
            process.stdin.flush()
            status, _, count = process.stdout.readline().rstrip().partition(" ")
            return int(status), count

        yield do


@pytest.mark.parametrize("act", ["archive", "fold"])
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_any_request_that_changes_s3(tmp_path, act, every):
    """After kill -9 before any change, readers see every row once, and doing it again ends as if nothing had been."""
    with dying(act, f"sqlite:///{tmp_path}/state.sqlite") as do:
        dry = s3_folder(tmp_path)
        status, count = do(dry, -1)
        assert status == 0
        expected, changes = rows(dry), int(count)
        assert changes > 5

        for line in range(0, changes, every):
            root: S3Path = s3_folder(tmp_path)
            assert do(root, line) == (-signal.SIGKILL, "")
            assert rows(root) in (expected, [row for row in expected if row[0] != 2])
            assert set(plain_rows(root)) >= set(rows(root))

            assert do(root, -1)[0] == 0
            assert rows(root) == expected
            assert list(root.glob("scores/*/.fold*")) == []


def test_the_rows_come_through_arrow_with_their_types(bucket):
    """What SQL gives has the types that it has from a disk: lists of structs, times in UTC, 64 bits."""
    write_epoch(bucket, outcome(1))

    found = query(bucket, "select started_at, epoch from epochs")

    assert str(found.dtypes["started_at"]).endswith("UTC]")
    assert found.dtypes["epoch"] == pd.Int64Dtype()
    assert pa.array(found["epoch"]).type == pa.int64()


@pytest.mark.parametrize(
    "text",
    [
        *("s3://", "s3://b", "s3://Bucket/x", "s3://bucket/a//b", "s3://bucket/a b", "s3://u:p@bucket"),
        *("s3://bucket/history[1]", "s3://bucket/a*", "s3://bucket/a?"),
    ],
)
def test_an_address_that_is_none_is_refused(text):
    """A bucket, and folders below it."""
    with pytest.raises(StorageError, match="an address such as"):
        s3_path(text, {})


def test_nothing_that_is_shown_of_a_history_has_a_secret():
    """Neither its path nor its repr holds the credentials, or the database's password."""
    environment = {
        "AWS_SECRET_ACCESS_KEY": "hidden-1",
        "AWS_ENDPOINT_URL": "https://s3.example",
        "AWS_REGION": "eu",
    }
    path = s3_path("s3://bucket/a/history/", environment, "postgresql://me:hidden-2@db/x")

    assert str(path) == "s3://bucket/a/history"
    assert "hidden" not in repr(path) + str(path)
    assert (path.bucket.endpoint, path.bucket.region) == ("https://s3.example", "eu")


def test_credentials_within_the_servers_address_are_refused():
    """They would be shown wherever the address is."""
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL is not of the form"):
        s3_path("s3://bucket/history", {"AWS_ENDPOINT_URL": "http://me:secret@host:9000"})
