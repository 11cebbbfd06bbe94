"""What an engine says is a machine's own word: whatever it is, it becomes a record that our columns hold, or a refusal."""

import json
from datetime import UTC, datetime

import pytest

from tasks.edges.engine import MOST_BYTES, MOST_PIDS, read_containers, read_stats
from tasks.renting.containers import LABEL


def container(started):
    """A running container of ours, as an engine tells it."""
    state = {"Status": "running", "StartedAt": started}
    told = {"id": "ab" * 32, "name": "/subnet-l-1-1", "image": "cd" * 32, "state": state, "ports": None}
    return json.dumps(told | {"labels": {LABEL: "l-1"}}).encode()


@pytest.mark.parametrize(
    ("told", "moment"),
    [
        ("2026-08-01T12:00:00.123456789Z", datetime(2026, 8, 1, 12, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("1971-01-01T00:00:00+99:99", None),
        ("yesterday", None),
    ],
)
def test_a_time_is_one_or_none(told, moment):
    """One that no calendar has is none, and breaks nothing."""
    [found] = read_containers(container(told))
    assert found.started_at == moment


def test_no_use_is_greater_than_what_can_be_kept():
    """A machine that tells of more memory than there is in the world is cut to what a column holds."""
    told = {
        "cpu": "250.00%",
        "memory": "999999999999999TiB / 1GiB",
        "network": "1kB / 999999999999999TB",
        "disk": "0B / 0B",
        "pids": "999999999999",
    }
    stats = read_stats(json.dumps(told).encode())

    assert (stats.memory_bytes, stats.memory_limit_bytes, stats.sent_bytes) == (
        MOST_BYTES,
        1 << 30,
        MOST_BYTES,
    )
    assert (stats.received_bytes, stats.pids) == (1_000, MOST_PIDS)
