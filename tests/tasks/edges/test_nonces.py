"""Nonces are used once, whoever asks: threads, processes, forks, and after pruning."""

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.edges.nonces import NonceStore
from tasks.errors import SettingError, StoreAway

NOW_NS = 1_790_000_000_000_000_000
ROOT = Path(__file__).resolve().parents[3]

ONE_PROCESS = """
import sys
from pathlib import Path
from tasks.edges.nonces import NonceStore
store = NonceStore(Path(sys.argv[1]))
print(sum(store.remember(sender="a", receiver="b", nonce_ns=n, now_ns=0) for n in range(200)))
"""


@pytest.fixture
def store(tmp_path):
    store = NonceStore(tmp_path / "nonces.sqlite")
    yield store
    store.close()


def remember(store, nonce_ns=NOW_NS, sender="a", receiver="b", now_ns=NOW_NS):
    return store.remember(sender=sender, receiver=receiver, nonce_ns=nonce_ns, now_ns=now_ns)


def test_second_use_is_a_replay(store):
    """The same sender, receiver and nonce pass once; another of any of the three is another request."""

    assert [
        remember(store),
        remember(store),
        remember(store, sender="c"),
        remember(store, receiver="c"),
        remember(store, nonce_ns=NOW_NS + 1),
    ] == [True, False, True, True, True]


def test_memory_survives_the_process(tmp_path):
    """A restarted door still knows what was used."""

    first = NonceStore(tmp_path / "n.sqlite")
    remember(first)
    first.close()
    second = NonceStore(tmp_path / "n.sqlite")

    assert remember(second) is False
    second.close()


def test_processes_share_the_memory(tmp_path):
    """Of several processes that are shown the same 200 nonces at once, each nonce passes in exactly one."""

    command = [sys.executable, "-c", ONE_PROCESS, str(tmp_path / "n.sqlite")]
    running = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        for _ in range(3)
    ]
    passed = [int(process.communicate(timeout=60)[0]) for process in running]

    assert sum(passed) == 200


def test_threads_share_the_memory(store):
    """Of several threads with the same nonces, each nonce passes once."""

    passed = []
    threads = [
        threading.Thread(
            target=lambda: passed.extend(remember(store, nonce_ns=NOW_NS + n) for n in range(50))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert passed.count(True) == 50


def test_a_fork_opens_its_own_connection(store):
    """A child after a fork neither uses nor harms its parent's connection, and sees the same nonces."""

    remember(store)
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(store._path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)

    assert done.stdout == b"child False, its own connection: True\nparent False True\n"


FORK = """
import os, sys
sys.path.insert(0, os.getcwd())
from pathlib import Path
from tasks.edges.nonces import NonceStore
ask = dict(sender="a", receiver="b", now_ns=1_790_000_000_000_000_000)
store = NonceStore(Path(sys.argv[1]))
store.remember(nonce_ns=1_790_000_000_000_000_000, **ask)
parents = store._connection
pid = os.fork()
if pid == 0:
    is_new = store.remember(nonce_ns=1_790_000_000_000_000_000, **ask)
    print(f"child {is_new}, its own connection: {store._connection is not parents}", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("parent", store.remember(nonce_ns=1_790_000_000_000_000_000, **ask), store.remember(nonce_ns=1, **ask))
"""


def test_old_nonces_are_pruned(store):
    """What is older than the retention goes, so the file stays small; what may still be replayed stays."""

    for second in range(30):
        remember(store, nonce_ns=NOW_NS + second * 10**9, now_ns=NOW_NS + second * 10**9)
    later_ns = NOW_NS + 80 * 10**9
    remember(store, nonce_ns=later_ns, now_ns=later_ns)

    kept = [n for (n,) in store._open().execute("SELECT nonce_ns FROM nonces ORDER BY 1")]
    assert kept == [NOW_NS + s * 10**9 for s in range(20, 30)] + [later_ns]


def test_short_retention_is_refused(tmp_path):
    """A memory shorter than the freshness window would let a replay through."""

    with pytest.raises(SettingError, match="at least 12 s"):
        NonceStore(tmp_path / "n", retention_s=11.9)


@pytest.mark.parametrize("nonce_ns", [-1, 2**63, 10**20])
def test_impossible_nonces_are_not_new(store, nonce_ns):
    """A nonce that the file cannot hold is refused, not an error."""

    assert remember(store, nonce_ns=nonce_ns) is False


def test_a_held_file_fails_closed(tmp_path):
    """When the store does not answer nothing is accepted: StoreAway, and it works again afterwards."""

    path = tmp_path / "n.sqlite"
    store = NonceStore(path, busy_s=0.05)
    remember(store)
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreAway):
        remember(store, nonce_ns=NOW_NS + 1)

    other.rollback()
    other.close()
    assert remember(store, nonce_ns=NOW_NS + 1) is True
    store.close()


def test_a_broken_file_fails_closed(tmp_path):
    """A file that is no database is said to be so."""

    path = tmp_path / "n.sqlite"
    path.write_bytes(b"not a database" * 100)

    with pytest.raises(StoreAway):
        remember(NonceStore(path))
