"""Which run is dead."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from storage.runs import SILENCE, Run, _started_ticks, is_alive, this_run
from tests.storage.outcomes import NOON

LONG_GONE = NOON - SILENCE - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("changes", "last_sign", "alive"),
    [
        ({}, NOON, True),
        ({}, LONG_GONE, False),
        ({"started_ticks": 1}, NOON, False),
        ({"boot_id": "before the power failed"}, NOON, False),
        ({"host": "another-machine", "boot_id": "its own", "pid": 1}, NOON, True),
        ({"host": "another-machine"}, LONG_GONE, False),
        ({"host": "another-machine"}, NOON + timedelta(days=1), False),
        ({}, NOON + timedelta(days=1), True),
        ({"started_ticks": 0}, NOON, True),
        ({"started_ticks": 0, "pid": 2**22 + 1}, NOON, False),
    ],
)
def test_a_run_is_alive_while_its_process_is(changes, last_sign, alive):
    """Same boot, same process, begun at the same moment, heard of lately; what cannot be looked at is believed for a while."""
    assert is_alive(replace(this_run(), **changes), last_sign, NOON) is alive


def test_a_process_that_ended_and_waits_for_its_parent_is_dead():
    """A zombie has a number, but does no work."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = Run("t", this_run().host, this_run().boot_id, child.pid, _started_ticks(child.pid))
    was_alive = is_alive(run, NOON, NOON)
    child.kill()
    while _started_ticks(child.pid) is not None:
        pass

    assert (was_alive, is_alive(run, NOON, NOON)) == (True, False)
    child.communicate()


def test_two_runs_of_a_process_differ():
    """A process may begin a second run: only its token tells them apart."""
    first, second = this_run(), this_run()

    assert first.token != second.token
    assert replace(first, token="") == replace(second, token="")
