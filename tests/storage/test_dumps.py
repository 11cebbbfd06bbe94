"""Copies of the state that can be put back."""

import sqlite3
import stat
from contextlib import closing

import pytest

from storage.database import migrate, open_database
from storage.dumps import SQLITE, dump, put_back
from storage.errors import StorageError
from storage.records import Ban, BanKind
from storage.state import State
from tests.databases import fresh
from tests.tasks.renting.leases import NOON


@pytest.fixture
def state(tmp_path):
    """A state in which one miner is banned, and whoever holds it open."""
    (tmp_path / "old").mkdir()
    engine = fresh(tmp_path / "old")
    ban(engine, "5Miner")
    yield engine
    engine.dispose()


def ban(engine, hotkey):
    State(engine).add_ban(Ban(BanKind.MINER, hotkey, "liar", NOON, None, "me"))


def banned(url):
    engine = open_database(url)
    migrate(engine)
    found = [ban.subject for ban in State(engine).all_bans()]
    engine.dispose()
    return found


def url_of(tmp_path, name):
    return f"sqlite:///{tmp_path}/{name}/subnet.db"


def test_a_copy_that_is_put_back_is_the_state_of_its_moment(tmp_path, state):
    """Taken while others write; what came afterwards is not in it."""
    with state.connect() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM bans")  # somebody reads, in WAL mode
        file = dump(url_of(tmp_path, "old"), tmp_path / "copy")
        ban(state, "5Later")
    put_back(tmp_path / "copy", url_of(tmp_path, "new"))

    assert file == tmp_path / "copy" / SQLITE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in file.parent.iterdir()) == [SQLITE]
    assert banned(url_of(tmp_path, "new")) == ["5Miner"]
    assert sorted(banned(url_of(tmp_path, "old"))) == ["5Later", "5Miner"]


def test_nothing_is_written_over(tmp_path, state):
    """Neither a copy by another, nor a state by a copy."""
    dump(url_of(tmp_path, "old"), tmp_path / "copy")

    with pytest.raises(StorageError, match="every copy has a folder of its own"):
        dump(url_of(tmp_path, "old"), tmp_path / "copy")
    with pytest.raises(StorageError, match="put the old state aside first"):
        put_back(tmp_path / "copy", url_of(tmp_path, "old"))


def test_a_log_that_was_left_behind_is_in_the_way(tmp_path, state):
    """SQLite would take what stands in it for the restored state's own."""
    dump(url_of(tmp_path, "old"), tmp_path / "copy")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "subnet.db-wal").write_bytes(b"of another state")

    with pytest.raises(StorageError, match=r"subnet\.db-wal is in the way"):
        put_back(tmp_path / "copy", url_of(tmp_path, "new"))


def test_a_damaged_copy_is_not_put_back(tmp_path, state):
    """It is told before anything is made."""
    file = dump(url_of(tmp_path, "old"), tmp_path / "copy")
    whole = bytearray(file.read_bytes())
    whole[4_096:12_288] = bytes(8_192)
    file.write_bytes(whole)

    with pytest.raises(StorageError, match="is damaged"):
        put_back(tmp_path / "copy", url_of(tmp_path, "new"))
    assert not (tmp_path / "new" / "subnet.db").exists()


def test_what_is_no_state_is_not_copied(tmp_path):
    """A file of something else, and none."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "subnet.db").write_bytes(b"no database")

    with pytest.raises(StorageError, match="can't be copied"):
        dump(url_of(tmp_path, "old"), tmp_path / "copy")
    with pytest.raises(StorageError, match="there is no state at"):
        dump(url_of(tmp_path, "nowhere"), tmp_path / "copy")


def test_a_copy_of_older_code_can_be_put_back(tmp_path):
    """Its schema is brought up to date by whoever opens it."""
    (tmp_path / "copy").mkdir()
    with closing(sqlite3.connect(tmp_path / "copy" / SQLITE)) as empty:
        empty.execute("PRAGMA user_version = 1")
    put_back(tmp_path / "copy", url_of(tmp_path, "new"))

    assert banned(url_of(tmp_path, "new")) == []
