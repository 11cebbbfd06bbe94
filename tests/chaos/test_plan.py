"""The plan of faults: the same seed, the same faults."""

from itertools import pairwise

import pytest

from tests.chaos.plan import LASTING_S, LONGEST_S, SHORTEST_S, Kind, plan


def test_the_same_seed_draws_the_same_faults():
    """So that what was found can be looked for again; another seed draws others."""
    assert plan(1, 600.0) == plan(1, 600.0)
    assert plan(1, 600.0) != plan(2, 600.0)


def test_a_longer_run_begins_with_the_shorter_one():
    """What a run of ten minutes finds in its third can be repeated in four."""
    assert plan(3, 600.0)[: len(plan(3, 240.0))] == plan(3, 240.0)


@pytest.mark.parametrize("seed", range(5))
def test_faults_come_all_the_time_and_of_every_kind(seed):
    """In an hour there is every kind, and never a quiet time longer than the longest pause."""
    faults = plan(seed, 3_600.0)
    moments = [0.0, *(f.at_s for f in faults), 3_600.0]

    assert {f.kind for f in faults} == set(Kind)
    assert all(0 < b - a <= LONGEST_S for a, b in pairwise(moments))
    assert min(b - a for a, b in pairwise(moments[:-1])) >= SHORTEST_S


def test_what_lasts_lasts_as_long_as_its_kind_may():
    """Kills are over at once."""
    for fault in plan(7, 3_600.0):
        low, high = LASTING_S.get(fault.kind, (0.0, 0.0))
        assert low <= fault.lasts_s <= high


def test_only_the_kinds_that_are_asked_for():
    """For looking at one kind alone."""
    assert {f.kind for f in plan(1, 600.0, (Kind.KILL,))} == {Kind.KILL}
