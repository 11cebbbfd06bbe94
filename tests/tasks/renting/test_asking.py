"""What is asked from outside: once, with its work, whatever else moves the lease at that moment."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from storage.lease_events import LeaseEvents
from storage.operations import Operations
from storage.rental import Operation, OperationKind, OperationState, Party, Terms, WorkKind
from storage.rentals import Rentals
from storage.works import Works
from tasks.errors import MoveRefused
from tasks.renting.asking import amend, ask_end, ask_for_lease, ask_operation, change, new_name
from tasks.renting.containers import _LEASE
from tasks.renting.moves import failed, noted
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, after, rental, running

LATER = NOON + timedelta(minutes=1)


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def works(engine):
    """What waits to be done."""
    return [(w.kind, w.subject) for w in Works(engine).unstarted()]


def test_a_lease_and_an_operation_are_asked_for_with_their_work(engine):
    """Sent twice, each has one flow to come."""
    stop = Operation("o-1", "l-1", "k", OperationKind.STOP, OperationState.ASKED, LATER)
    for _ in range(2):
        lease, _ = ask_for_lease(Rentals(engine), rental())
        ask_operation(Operations(engine), lease, stop)

    assert works(engine) == [(WorkKind.RENT, "l-1"), (WorkKind.OPERATE, "o-1")]


def test_an_end_is_asked_for_once(engine):
    """The first reason stands, with one teardown and one event; there is nothing to end where no lease is."""
    leases = Rentals(engine)
    leases.request(rental())
    first = ask_end(leases, "l-1", NOON, Party.RENTER, "cancelled")
    again = ask_end(leases, "l-1", LATER, Party.MACHINE, "away")

    assert again == first
    assert (first.end_asked_at, first.end_party, first.end_reason) == (NOON, Party.RENTER, "cancelled")
    assert works(engine) == [(WorkKind.TEARDOWN, "l-1")]
    assert [e.kind for e in LeaseEvents(engine).after(0)] == ["REQUESTED", "END_ASKED"]
    assert ask_end(leases, "l-2", NOON, Party.RENTER, "") is None


def test_what_is_over_is_not_ended_again(engine):
    """It stays as it is; its limits can't be changed any more."""
    leases = Rentals(engine)
    lease, _ = leases.request(rental())
    over = failed(lease, NOON, Party.NOBODY, "no machine")
    leases.move(lease, over)

    assert ask_end(leases, "l-1", LATER, Party.RENTER, "cancelled") == over
    with pytest.raises(MoveRefused):
        amend(leases, "l-1", LATER, None)
    assert works(engine) == []


def test_limits_are_changed_by_name(engine):
    """What is not named stays."""
    leases = Rentals(engine)
    leases.request(rental(terms=Terms(ttl_s=60, cap_micro_usd=5)))

    lease = amend(leases, "l-1", LATER, LATER, ttl_s=120)
    assert (lease.terms, lease.ends_by, lease.version) == (Terms(ttl_s=120, cap_micro_usd=5), LATER, 1)
    assert LeaseEvents(engine).after(1)[0].kind == "AMENDED"


@pytest.mark.parametrize("terms", [{"ttl_s": 60}, {"cap_micro_usd": 1}])
def test_limits_hold_from_now_on(engine, terms):
    """What a lease has cost already is not taken back by a limit that it has passed; a longer one is taken."""
    leases = Rentals(engine)
    asked, _ = leases.request(rental())
    lease = running(version=1)
    assert leases.move(asked, lease)

    with pytest.raises(MoveRefused, match="less than it has cost"):
        amend(leases, "l-1", after(3_600), None, **terms)
    with pytest.raises(MoveRefused, match="less than it has cost"):
        amend(leases, "l-1", after(3_600), after(60))
    assert leases.get("l-1") == lease
    assert amend(leases, "l-1", after(3_600), None, ttl_s=7_200).terms.ttl_s == 7_200


def test_changes_at_once_all_count(engine):
    """Eight at a time change one lease thirty-two times: each saw the one before."""
    leases = Rentals(engine)
    leases.request(rental())

    def longer(_):
        return change(leases, "l-1", lambda one: noted(one, NOON, paid_s=one.paid_s + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(longer, range(32)))
    assert (leases.get("l-1").paid_s, leases.get("l-1").version) == (32, 32)


def test_names_fit_containers():
    """New ones are never the same, and are made of letters that an engine takes."""
    names = {new_name("lease") for _ in range(100)}

    assert len(names) == 100
    assert all(_LEASE.match(name) for name in names)
