"""What landed against what was meant, over two tempos of 100 blocks each after weights that were set at block 1,000."""

from dataclasses import replace

import pytest

from storage.records import Landing, LandingState
from tasks.scoring.landing import difference, look

MEANT, OTHER = {1: 0.75, 2: 0.25}, {1: 0.25, 2: 0.75}
PLAIN = Landing(20, 1_000, 100, is_sealed=False, seen_block=1_000)
SEALED = Landing(20, 1_000, 100, is_sealed=True)


def followed(landing, *looks):
    """The landing after looks: (block, our row there, whether later weights of ours took its place)."""
    for block, row, is_superseded in looks:
        landing = look(landing, MEANT, row, block, is_superseded=is_superseded)
    return landing


@pytest.mark.parametrize(
    ("landing", "looks", "state"),
    [
        (PLAIN, [(1_050, MEANT, False)], LandingState.OPEN),
        (PLAIN, [(1_100, MEANT, False)], LandingState.OPEN),
        (PLAIN, [(1_100, MEANT, False), (1_200, MEANT, False)], LandingState.LANDED),
        (PLAIN, [(1_050, OTHER, False)], LandingState.DIFFERS),
        (PLAIN, [(1_050, {}, False)], LandingState.DIFFERS),
        (PLAIN, [(1_110, OTHER, True)], LandingState.LANDED),
        (SEALED, [(1_050, OTHER, False)], LandingState.OPEN),
        (SEALED, [(1_110, OTHER, True), (1_150, MEANT, True)], LandingState.OPEN),
        (SEALED, [(1_110, OTHER, True), (1_150, MEANT, True), (1_200, OTHER, True)], LandingState.LANDED),
        (SEALED, [(1_100, OTHER, True), (1_150, OTHER, True), (1_200, OTHER, True)], LandingState.DIFFERS),
        (SEALED, [(1_200, OTHER, False)], LandingState.DIFFERS),
        (SEALED, [(9_000, OTHER, True)], LandingState.UNSEEN),
    ],
    ids=[
        "there, and not a tempo old",
        "there after one tempo",
        "there after two",
        "another row before its time",
        "no row at all",
        "taken over by our own next weights",
        "sealed, not revealed yet",
        "revealed",
        "revealed, and taken over by the next",
        "never revealed",
        "sealed, last of all, never revealed",
        "nobody looked in time",
    ],
)
def test_what_becomes_of_weights(landing, looks, state):
    """Plain weights must be there at every look until ours replace them; sealed ones must show up within two tempos."""
    assert followed(landing, *looks).state is state


def test_a_node_that_lags_behind_tells_nothing():
    """Our row before the weights were set is no difference."""
    assert followed(PLAIN, (999, OTHER, False)) == PLAIN


def test_rounding_is_no_difference():
    """A u16 more or less is what was meant."""
    landed = {1: 0.75 + 1 / 65_535, 2: 0.25 - 1 / 65_535}

    assert followed(PLAIN, (1_050, landed, False)).state is LandingState.OPEN


def test_a_difference_is_the_share_that_goes_elsewhere():
    """Half of the emission swapped between two uids; all of it where there is no row."""
    assert difference(MEANT, OTHER) == 0.5
    assert difference(MEANT, MEANT) == 0.0
    assert difference(MEANT, {7: 1.0}) == 1.0


def test_looks_count_from_one_tempo_on():
    """The first tempo's looks decide nothing about a reveal."""
    assert followed(SEALED, (1_050, OTHER, True), (1_100, OTHER, True)).looks == 1
    assert replace(SEALED).looks == 0
