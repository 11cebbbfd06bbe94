"""The moves of a lease: lawful ones, and no others."""

from datetime import timedelta
from itertools import product

import pytest

from storage.rental import Party, RentalState
from tasks.errors import MoveRefused
from tasks.renting.moves import (
    CLOSED,
    HOLDS,
    LAWFUL,
    ended,
    ending,
    failed,
    handed_over,
    let_go,
    moved,
    reserved,
)
from tests.tasks.renting.leases import NOON, USD, offer, rental

LATER = NOON + timedelta(minutes=1)


@pytest.mark.parametrize(("state", "to"), list(product(RentalState, RentalState)))
def test_a_lease_moves_along_the_drawing_only(state, to):
    """Every pair of states: there is a way, which counts a version, or the move is refused with both names."""
    lease = rental(state=state)
    if to in LAWFUL[state]:
        assert (moved(lease, to, LATER).state, moved(lease, to, LATER).version) == (to, 1)
    else:
        with pytest.raises(MoveRefused, match=f"is {state.value}: it can't be {to.value}"):
            moved(lease, to, LATER)


def test_every_state_holds_cards_or_is_closed_or_waits():
    """Nothing that was begun on a machine is without its cards, and nothing that is over has any."""
    assert set(RentalState) - HOLDS - CLOSED == {RentalState.REQUESTED}
    assert not HOLDS & CLOSED
    assert all(LAWFUL[state] == frozenset() for state in CLOSED)


def test_a_whole_life():
    """Reserved at the offer's price, handed over, ended: paid from the hand-over to the moment that its end was asked for."""
    held = reserved(rental(), offer(cards=2), offer(cards=2).card_uuids, NOON)
    active = handed_over(moved(held, RentalState.PROVISIONING, NOON), LATER)
    over = ended(ending(active, LATER + timedelta(hours=1)), LATER + timedelta(hours=2))

    assert (held.micro_usd_per_hour, len(held.card_uuids)) == (USD, 2)
    assert (active.active_at, over.ended_at) == (LATER, LATER + timedelta(hours=1))
    assert (over.state, over.version, over.party) == (RentalState.ENDED, 5, Party.NOBODY)


def test_a_machine_that_fails_is_not_tried_again():
    """Back to wanted, without machine, cards and price, and with the machine remembered."""
    held = reserved(rental(), offer(), offer().card_uuids, NOON)
    back = let_go(moved(held, RentalState.PROVISIONING, NOON), LATER, "pull image: no space")

    assert (back.state, back.executor_key, back.card_uuids, back.micro_usd_per_hour) == (
        RentalState.REQUESTED,
        "",
        (),
        0,
    )
    assert (back.tried, back.reason) == (("5Miner/a",), "pull image: no space")


def test_a_start_after_a_stop_keeps_the_first_hand_over():
    """A lease that was stopped and started is paid from its first hand-over."""
    active = rental(state=RentalState.ACTIVE, active_at=NOON)
    again = handed_over(moved(active, RentalState.STOPPED, NOON), LATER)

    assert again.active_at == NOON


def test_a_failure_has_a_party_and_a_reason():
    """Given up before its hand-over: whose fault, and at which step."""
    lease = failed(rental(state=RentalState.PROVISIONING), LATER, Party.MACHINE, "start container: exit 125")

    assert (lease.state, lease.party, lease.reason) == (
        RentalState.FAILED,
        Party.MACHINE,
        "start container: exit 125",
    )
