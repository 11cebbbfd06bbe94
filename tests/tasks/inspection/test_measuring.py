"""Whose bandwidth an epoch measures."""

from dataclasses import replace

import pytest

from storage.records import ExecutorRecord
from tasks.inspection.measuring import EVERY, is_measured
from tests.tasks.inspection.runs import NOON

KNOWN = ExecutorRecord("5Miner/one", NOON, passed_since=NOON, up_mbit_s=500.0, down_mbit_s=500.0)
HASHES = [f"0x{n:064x}" for n in range(3_000)]


@pytest.mark.parametrize("lacks", ["up_mbit_s", "down_mbit_s", "passed_since"])
def test_who_was_never_measured_is_measured(lacks):
    """Whatever the hash: without a figure each way, or without a run of passed epochs, it is measured now."""

    assert all(is_measured(replace(KNOWN, **{lacks: None}), drawn) for drawn in HASHES[:100])


def test_all_others_are_drawn_one_of_twelve():
    """Over many epochs a machine is measured in one of twelve, and so are many machines in one epoch."""

    by_epoch = sum(is_measured(KNOWN, drawn) for drawn in HASHES)
    by_machine = sum(is_measured(replace(KNOWN, executor_key=f"5Miner/{n}"), HASHES[0]) for n in range(3_000))

    # Of 3,000 draws 250 are expected, with a deviation of 15: none of the two is further off than five of them.
    assert 3_000 // EVERY == 250
    assert abs(by_epoch - 250) < 75
    assert abs(by_machine - 250) < 75


def test_who_is_drawn_is_the_hashs_alone():
    """All validators draw the same machines, and a machine is not drawn again by the next hash for having been drawn."""

    drawn = [n for n in HASHES if is_measured(KNOWN, n)]

    assert drawn == [n for n in HASHES if is_measured(replace(KNOWN, epochs_seen=9, carried_over=3), n)]
    assert drawn != HASHES[: len(drawn)]
