"""Locks between processes, by a file beside SQLite and by PostgreSQL's own."""

import subprocess
import sys
import threading
import time

import pytest

from storage.errors import StorageError
from storage.locks import shared_lock
from tests.databases import fresh

HOLDER = (
    "import sys, time; from storage.locks import shared_lock\n"
    "with shared_lock(sys.argv[1], 'archive'): print('held', flush=True); time.sleep(600)"
)


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def test_one_at_a_time_by_one_name(engine):
    """Two that take the same lock are never in it together; who takes another one need not wait."""
    url, inside, most = str(engine.url), [], []

    def work():
        with shared_lock(url, "archive"):
            inside.append(1)
            most.append(len(inside))
            with shared_lock(url, "fold"):
                time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1] * 6


def test_a_killed_holder_keeps_nobody_out(engine):
    """The lock ends with its process, however that ends."""
    url = str(engine.url)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    taken = threading.Event()

    def take():
        with shared_lock(url, "archive"):
            taken.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    assert not taken.wait(0.3)
    holder.kill()
    holder.wait()
    holder.stdout.close()

    waiting.join(60)
    assert taken.is_set()


def test_without_a_database_there_is_no_lock():
    """Nobody else could know of it."""
    with pytest.raises(StorageError, match="only beside a state"), shared_lock("", "archive"):
        pass
