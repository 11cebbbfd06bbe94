"""Before a lease's container is made, its cards are in no other container of ours."""

from dataclasses import replace

import pytest

from storage.rental import RentalState
from tasks.renting.moves import CLOSED, HOLDS
from tasks.renting.room import Due, due_of
from tests.tasks.renting.leases import rental, running
from tests.tasks.renting.test_sweeping import MACHINE, container

CARDS = ("GPU-b", "GPU-c")


def due(lease, cards=CARDS, **changes):
    """What is due for a container of `lease` when these cards of its machine are another's."""
    return due_of(replace(container(), **changes), lease, MACHINE, cards)


@pytest.mark.parametrize("state", sorted(CLOSED))
@pytest.mark.parametrize("status", ["running", "exited", "created"])
def test_what_a_lease_that_is_over_has_left_goes(state, status):
    """Whichever cards it had: it is nobody's."""
    assert due(running(attempt=1, state=state), status=status) is Due.REMOVED


def test_what_a_lease_has_left_here_that_was_let_go_goes():
    """It looks for a machine, or stands on another one."""
    assert due(rental(attempt=1)) is Due.REMOVED
    assert due(running(attempt=2, executor_key="5Miner/b")) is Due.REMOVED


@pytest.mark.parametrize("state", sorted(HOLDS))
@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_who_holds_cards_of_the_machine_is_let_be(state, attempt):
    """They are other cards, since nobody else can hold these; a replacement has the next attempt before its lease has."""
    assert due(running(attempt=2, state=state), attempt=attempt) is Due.LET_BE


@pytest.mark.parametrize("state", [RentalState.STOPPED, RentalState.ENDING])
def test_what_holds_no_cards_any_more_does_not_run_with_those_of_another(state):
    """Its container stays, with its data; where its cards are others it runs on."""
    lease = running(attempt=1, state=state, is_holding=False)

    assert due(lease) is Due.STOPPED
    assert due(lease, status="exited") is Due.LET_BE
    assert due(lease, cards=("GPU-c", "GPU-d")) is Due.LET_BE


def test_without_a_proof_nothing_is_done():
    """A lease that we don't know, or an attempt of it that we have not made: our state may be the older one."""
    assert due(None) is Due.LET_BE
    assert due(running(attempt=1, executor_key="5Miner/b"), attempt=2) is Due.LET_BE
