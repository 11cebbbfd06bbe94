"""The moves of a lease: lawful ones, and no others."""

from datetime import timedelta
from itertools import product

import pytest

from storage.rental import Mode, Party, RentalState, Wish
from tasks.errors import MoveRefused
from tasks.renting.moves import (
    CLOSED,
    HOLDS,
    HOLDS_NOTHING,
    LAWFUL,
    end_asked,
    ended,
    ending,
    failed,
    handed_over,
    let_go,
    moved,
    rehold,
    reserved,
    started,
    stopped,
    unhold,
)
from tests.tasks.renting.leases import NOON, USD, offer, rental

LATER = NOON + timedelta(minutes=1)


def running(**changes):
    """A lease that is being provisioned on a machine's two cards."""
    held = reserved(rental(**changes), offer(cards=2), offer(cards=2).card_uuids, NOON)
    return moved(held, RentalState.PROVISIONING, NOON)


@pytest.mark.parametrize(("state", "to"), list(product(RentalState, RentalState)))
def test_a_lease_moves_along_the_drawing_only(state, to):
    """Every pair of states: there is a way, which counts a version, or the move is refused with both names."""
    lease = rental(state=state)
    if to in LAWFUL[state]:
        assert (moved(lease, to, LATER).state, moved(lease, to, LATER).version) == (to, 1)
    else:
        with pytest.raises(MoveRefused, match=f"is {state.value}: it can't be {to.value}"):
            moved(lease, to, LATER)


def test_every_state_holds_cards_or_none_or_says_itself():
    """Nothing that was begun on a machine is without its cards, and nothing that is over has any; a stopped lease says itself."""
    assert set(RentalState) - HOLDS - HOLDS_NOTHING == {RentalState.STOPPED, RentalState.ENDING}
    assert not HOLDS & HOLDS_NOTHING
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


def test_a_stop_frees_the_cards_and_the_price():
    """Ten minutes active, an hour stopped, then active again: the hour is not paid, and the first hand-over stays."""
    active = handed_over(running(), NOON)
    still = stopped(active, NOON + timedelta(minutes=10))
    again = started(rehold(still, LATER), NOON + timedelta(minutes=70))

    assert (still.is_holding, still.paid_s, still.paid_from, still.card_uuids) == (
        False,
        600,
        None,
        active.card_uuids,
    )
    assert (again.is_holding, again.active_at, again.paid_s) == (True, NOON, 600)
    assert (again.paid_from, again.stopped_at) == (NOON + timedelta(minutes=70), None)


def test_a_reserved_lease_is_held_and_paid_while_it_is_stopped():
    """Its hours were committed."""
    still = stopped(handed_over(running(wish=Wish(mode=Mode.RESERVED)), NOON), LATER)

    assert (still.is_holding, still.paid_from) == (True, NOON)
    assert unhold(still, LATER).is_holding


def test_a_start_that_fails_frees_the_cards_again():
    """The lease stays stopped; another can be stopped or started only from there."""
    still = stopped(handed_over(running(), NOON), LATER)

    assert rehold(still, LATER).is_holding
    assert not unhold(rehold(still, LATER), LATER).is_holding
    for move in (rehold, unhold):
        with pytest.raises(MoveRefused):
            move(rental(), LATER)


def test_an_end_is_paid_until_it_was_asked_for():
    """Asked for after a minute and torn down an hour later: a minute is paid, and who asked stands in it."""
    asked = end_asked(handed_over(running(), NOON), LATER, Party.RENTER, "cancelled")
    over = ended(ending(asked, LATER + timedelta(hours=1)), LATER + timedelta(hours=2))

    assert (asked.state, asked.paid_s, asked.paid_from) == (RentalState.ACTIVE, 60, None)
    assert (over.paid_s, over.ended_at, over.party, over.reason) == (60, LATER, Party.RENTER, "cancelled")


def test_what_is_over_is_not_changed():
    """An end can't be asked for twice over: there is nothing left to end."""
    over = failed(rental(), NOON, Party.NOBODY, "no machine")
    with pytest.raises(MoveRefused, match="is failed: it can't be changed"):
        end_asked(over, LATER, Party.RENTER, "cancelled")


def test_a_failure_has_a_party_and_a_reason():
    """Given up before its hand-over: whose fault, and at which step."""
    lease = failed(rental(state=RentalState.PROVISIONING), LATER, Party.MACHINE, "start container: exit 125")

    assert (lease.state, lease.party, lease.reason) == (
        RentalState.FAILED,
        Party.MACHINE,
        "start container: exit 125",
    )
