"""For whom an epoch does not wait."""

from datetime import UTC, datetime

from storage.records import ExecutorRecord
from tasks.strangers import EVERY, hurried
from tests.storage.outcomes import executor

BLOCK_HASHES = [f"0x{number:064x}" for number in range(600)]


def machines(count):
    return [executor(number) for number in range(count)]


def records_of(executors):
    """All of them on a run of passed epochs."""
    since = datetime(2026, 8, 1, tzinfo=UTC)
    return {e.key: ExecutorRecord(e.key, passed_since=since) for e in executors}


def hurrying_hashes(executors, records):
    return [block_hash for block_hash in BLOCK_HASHES if hurried(executors, records, block_hash)]


def test_most_epochs_do_not_wait_for_who_never_passed():
    """Two of eight: one was never seen, one was and is on no run of passed epochs. One epoch of twelve waits for both."""
    known, fallen, new = machines(6), *machines(8)[6:]
    records = records_of(known) | {fallen.key: ExecutorRecord(fallen.key, epochs_seen=9)}
    hashes = hurrying_hashes([*known, fallen, new], records)

    assert hurried([*known, fallen, new], records, hashes[0]) == {fallen.key, new.key}
    assert 1 / (2 * EVERY) < 1 - len(hashes) / len(BLOCK_HASHES) < 2 / EVERY


def test_where_too_few_are_known_everybody_is_waited_for():
    """A network's first epochs, and one to which as many have come as there were."""
    every = machines(8)

    assert hurrying_hashes(every, {}) == []
    assert hurrying_hashes(every, records_of(every[:5])) == []
    assert hurrying_hashes([], {}) == []
