"""A new SQLite file can be opened by several processes at the same moment."""

import sqlite3
import threading
from contextlib import closing

import pytest

from storage.sqlite import switch_to_wal


@pytest.fixture
def writer(tmp_path):
    """A connection in the middle of its first write, before the file has a write-ahead log."""
    connection = sqlite3.connect(tmp_path / "new.db", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE t (x)")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES (1)")
    yield connection
    connection.close()


def test_a_file_that_another_process_writes_is_waited_for(tmp_path, writer):
    """SQLite would say "database is locked" at once, whatever the time-out."""
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            writer.execute("COMMIT")

    with closing(sqlite3.connect(tmp_path / "new.db", timeout=30)) as connection:
        switch_to_wal(connection, 30, pause)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    assert len(pauses) == 3


def test_the_wait_ends(tmp_path, writer):
    """A writer that never ends is an error, as everywhere else."""
    with (
        closing(sqlite3.connect(tmp_path / "new.db", timeout=0)) as connection,
        pytest.raises(sqlite3.OperationalError, match="database is locked"),
    ):
        switch_to_wal(connection, 0.0)


def test_threads_that_open_at_once_all_get_in(tmp_path):
    """Four openers of one new file, behind one barrier."""
    barrier, modes = threading.Barrier(4), []

    def open_it():
        barrier.wait()
        with closing(sqlite3.connect(tmp_path / "race.db", timeout=30)) as connection:
            switch_to_wal(connection, 30)
            connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
            modes.append(connection.execute("PRAGMA journal_mode").fetchone())

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert modes == [("wal",)] * 4
