"""Slots: where a validator's waves lie on the circle, and that validators of one block don't meet."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import Head
from tasks.policy import DEFAULT, LOCALNET
from tasks.proof.slots import Turn, permitted, place_of, turns
from tests.tasks.inspection.runs import NOON, view_at
from tests.tasks.scoring.worlds import view

POLICY = replace(DEFAULT.proof, slot_s=48.0, slots=6)
HASHES = st.text("0123456789abcdef", min_size=8, max_size=8).map(lambda digits: f"0x{digits}")
STAKES = st.lists(st.integers(0, 10**15), min_size=1, max_size=20).map(
    lambda amounts: [(f"5Validator{n:02}", amount) for n, amount in enumerate(amounts)]
)


def head(block: int) -> Head:
    return replace(view_at(block).head, time=NOON, block_time_s=12.0)


@given(STAKES, HASHES)
def test_as_many_validators_as_there_are_slots_have_each_their_own(stakes, block_hash):
    """Those with the most stake never share a slot, the next six share theirs with one of them each, and so on."""

    ranked = [hotkey for hotkey, _ in sorted(stakes, key=lambda each: (-each[1], each[0]))]
    places = [place_of(hotkey, stakes, block_hash, 6) for hotkey in ranked]

    for first in range(0, len(places), 6):
        group = places[first : first + 6]
        assert sorted(group) == list(range(len(group)))


def test_places_are_drawn_anew_for_every_block_and_not_by_stake():
    """Nobody knows before the block is there when a validator comes; how much stake it has among the first moves nothing."""

    stakes = [("5A", 900), ("5B", 800), ("5C", 700)]
    shuffled = [("5C", 901), ("5A", 899), ("5B", 1)]

    drawn = {tuple(place_of(h, stakes, f"0x{n}", 6) for h, _ in stakes) for n in range(32)}

    assert len(drawn) == 6
    assert all(
        place_of(h, stakes, f"0x{n}", 6) == place_of(h, shuffled, f"0x{n}", 6)
        for h, _ in stakes
        for n in range(8)
    )
    assert place_of("5Nobody", stakes, "0x1", 6) == 0


@pytest.mark.parametrize(
    ("block", "place", "waits_s"),
    [
        (24_000, 0, [0.0]),  # block 24,000 is the first of a circle of 24
        (24_001, 0, [0.0]),  # one block into the slot of four
        (24_002, 0, [264.0]),  # half of it is over: once around, less two blocks
        (24_000, 1, [48.0]),
        (24_000, 5, [240.0]),
        (24_000, 5, [240.0, 0.0, 48.0]),  # the second wave is due in slot 0, which is now
        (24_004, 0, [240.0, 0.0]),
    ],
)
def test_a_wave_is_due_in_its_slot(block, place, waits_s):
    """Wave i of the validator at place p begins in slot p + i, counted in blocks, at most once around from now."""

    due = {turn.wave: turn.wait_s for turn in turns(place, len(waits_s), head(block), POLICY)}

    assert [due[wave] for wave in range(len(waits_s))] == waits_s


def test_waves_come_in_the_order_in_which_they_are_due():
    """The one whose slot comes first goes first, whatever its number; two of one slot follow each other."""

    assert [turn.wave for turn in turns(4, 7, head(24_000), POLICY)] == [2, 3, 4, 5, 0, 6, 1]


@given(st.integers(0, 10**7), st.integers(1, 6), st.integers(0, 5), st.integers(0, 5))
def test_two_validators_are_never_at_the_same_wave_at_once(block, waves, one, other):
    """Whoever shares the circle and its waves meets nobody, at whatever blocks their epochs begin."""

    if one == other:
        return
    for first in turns(one, waves, head(block), POLICY):
        for second in turns(other, waves, head(block), POLICY):
            if first.wave == second.wave:
                assert abs(first.wait_s - second.wait_s) >= 24.0


def test_without_slots_nobody_waits():
    """The local subnet has one validator that proves: its waves are due at once and in order."""

    assert LOCALNET.proof.slot_s == 0
    assert turns(3, 3, head(24_002), LOCALNET.proof) == (Turn(0, 0.0), Turn(1, 0.0), Turn(2, 0.0))


def test_the_permitted_are_those_of_the_snapshot():
    """A permit on the chain is what makes a validator, and nothing that anybody says."""

    seen = view("5A", "5B")
    neurons = tuple(replace(n, has_permit=n.hotkey == "5B") for n in seen.neurons)

    assert permitted(replace(seen, neurons=neurons)) == {"5B"}


def test_a_circle_fits_into_an_epoch():
    """Who waits longest still begins within the proof's phase: 5 slots of 48 s and half a slot."""

    longest_s = max(turn.wait_s for block in range(24) for turn in turns(0, 6, head(block), DEFAULT.proof))

    assert longest_s == 264.0
    assert longest_s <= DEFAULT.proof.phase_s
