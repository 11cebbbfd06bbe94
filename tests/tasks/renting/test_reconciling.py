"""What stands still is worked on again, and what is worked on is left alone."""

from dataclasses import replace
from datetime import timedelta

import pytest

from storage.claims import Claims
from storage.operations import Operations
from storage.rental import Operation, OperationKind, OperationState, Party, RentalState, WorkKind
from storage.rentals import Rentals
from storage.works import Works
from tasks.renting.asking import ask_end, ask_for_lease, ask_operation
from tasks.renting.reconciling import QUIET, QUIET_MOST, quiet_for, reconcile, try_waiting, work_for
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, after, rental, running

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def engine(tmp_path):
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def operation(name="o-1", lease="l-1"):
    return Operation(name, lease, name, OperationKind.STOP, OperationState.ASKED, NOON)


@pytest.mark.parametrize("state", RentalState)
def test_a_leases_state_says_what_is_to_be_done(state):
    """On its way it is rented out, while it ends it is torn down, and where it stands well nothing is done."""
    wanted = {"requested": "rent", "reserved": "rent", "provisioning": "rent", "ending": "teardown"}
    work = work_for(replace(running(), state=state), None, NOON)

    assert (work and work.kind.value) == wanted.get(state.value)


def test_an_end_that_was_asked_for_goes_before_all_else():
    """Whatever the lease was at, and whatever else is asked of it."""
    asked = replace(running(), end_asked_at=NOON)

    assert work_for(asked, operation(), NOON).kind is WorkKind.TEARDOWN


def test_operations_are_done_in_their_order():
    """The oldest open one of a lease is what is worked on."""
    assert (work := work_for(running(), operation(), NOON)).kind is WorkKind.OPERATE
    assert work.subject == "o-1"


def started(engine):
    """Whatever waits has its flow run; how much there was."""
    works = Works(engine)
    return sum(works.started(work.work_id, "run") for work in works.unstarted())


def test_a_request_that_waits_is_tried_again_as_soon_as_cards_are_free(engine):
    """Its run has ended and left it waiting: it is asked for at once, and once; one that is worked on is left alone."""
    for name in ("l-1", "l-2"):
        ask_for_lease(Rentals(engine), rental(name))
    assert started(engine) == 2
    Claims(engine).take("l-2", "a run", LATER, NOON)

    (again,) = try_waiting(engine, after(1))
    assert (again.kind, again.subject) == (WorkKind.RENT, "l-1")
    assert try_waiting(engine, after(2)) == ()


def test_a_run_that_died_is_started_again(engine):
    """Its claim is gone and a minute is over: the work is asked for once more, once."""
    ask_for_lease(Rentals(engine), rental())
    assert started(engine) == 1

    assert reconcile(engine, after(30)) == ()
    (again,) = reconcile(engine, after(61))
    assert (again.kind, again.subject) == (WorkKind.RENT, "l-1")
    assert reconcile(engine, after(62)) == ()
    assert started(engine) == 1


def test_what_waits_is_not_asked_for_twice(engine):
    """With Prefect away for a day, there is one work for each lease."""
    ask_for_lease(Rentals(engine), rental())

    assert reconcile(engine, NOON + timedelta(days=1)) == ()
    assert len(Works(engine).unstarted()) == 1


def test_a_run_that_lives_is_left_alone(engine):
    """As long as its claim lasts."""
    ask_for_lease(Rentals(engine), rental())
    started(engine)
    Claims(engine).take("l-1", "somebody", LATER, NOON)

    assert reconcile(engine, after(600)) == ()
    assert len(reconcile(engine, LATER)) == 1


def test_an_end_and_an_operation_are_picked_up(engine):
    """A lease that stands has its operation done; once its end is asked for, that instead."""
    leases = Rentals(engine)
    lease, _ = leases.request(running())
    ask_operation(Operations(engine), lease, operation())
    started(engine)

    assert [work.kind for work in reconcile(engine, LATER)] == [WorkKind.OPERATE]
    started(engine)
    ask_end(leases, "l-1", LATER, Party.RENTER, "done with it")
    started(engine)
    assert [w.kind for w in reconcile(engine, LATER + timedelta(hours=1))] == [WorkKind.TEARDOWN]


def test_the_longer_it_stands_still_the_less_often_it_is_tried():
    """From each minute to each quarter of an hour."""
    lease = rental()

    assert quiet_for(lease, after(5)) == QUIET
    assert quiet_for(lease, NOON + timedelta(minutes=50)) == timedelta(minutes=5)
    assert quiet_for(lease, NOON + timedelta(days=1)) == QUIET_MOST
