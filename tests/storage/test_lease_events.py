"""What happened to leases: found by its number, its lease, its renter; private repositories by their name."""

import pytest
import sqlalchemy as sa

from storage.lease_events import LOGGED_IN, LeaseEvents
from storage.rental import Happening, Party
from storage.rentals import Rentals
from tasks.renting.moves import failed
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, after, rental


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def test_a_repository_is_private_to_who_logged_in(engine):
    """Whoever it was first, everybody else has to ask the registry; other events of the same words say nothing."""
    events = LeaseEvents(engine)
    events.note(rental("l-1", renter="alice"), NOON, Happening(LOGGED_IN, "ghcr.io/alice/model"))
    events.note(rental("l-2", renter="bob"), NOON, Happening("STEP", "ghcr.io/bob/model"))

    assert events.is_login_of_others("ghcr.io/alice/model", "bob")
    assert not events.is_login_of_others("ghcr.io/alice/model", "alice")
    assert not events.is_login_of_others("ghcr.io/bob/model", "alice")


def test_logins_are_found_without_reading_what_else_happened(tmp_path):
    """A pull waits for it: it takes as long with ten million events as with ten. SQLite's plan does not depend on how many there are."""
    engine, asked = fresh(tmp_path), []
    sa.event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[2:4]))
    LeaseEvents(engine).is_login_of_others("ghcr.io/alice/model", "bob")
    words, values = next(told for told in asked if "lease_events" in told[0])
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {words}", values).all()
    engine.dispose()

    assert any("ix_lease_events_logins (message=?" in row[-1] for row in plan), plan


def test_events_of_one_kind(engine):
    """Of one lease, in order, and no others."""
    events, lease = LeaseEvents(engine), rental()
    events.note(lease, NOON, *(Happening(kind) for kind in ("STEP", "REPLACED", "STEP", "REPLACED")))

    assert [e.sequence for e in events.after(0, lease_id="l-1", kind="REPLACED", limit=10)] == [2, 4]


def test_whose_leases_new_events_are_about(engine):
    """Behind a number, in order, so many at most: what wakes the feeds of their renters, and of nobody else."""
    events = LeaseEvents(engine)
    events.note(rental("l-1", renter="alice"), NOON, Happening("STEP"), Happening("ACTIVE"))
    events.note(rental("l-2", renter="bob"), NOON, Happening("STEP"))

    assert events.owners(1, 10) == ((2, "alice"), (3, "bob"))
    assert events.owners(0, 1) == ((1, "alice"),)
    assert events.owners(3, 10) == ()


def test_the_newest_events_of_a_lease(engine):
    """Newest first, however many steps and other leases' events came after them."""
    events, lease = LeaseEvents(engine), rental()
    events.note(lease, NOON, *(Happening(kind) for kind in ("ACTIVE", "NOTICE", "STEP", "STEP")))
    events.note(rental("l-2"), NOON, Happening("ACTIVE"))

    assert [one.sequence for one in events.newest("l-1", 3)] == [4, 3, 2]
    assert [one.sequence for one in events.newest("l-1", 2, without=("STEP",))] == [2, 1]
    assert [one.sequence for one in events.newest("l-1", 9, only="NOTICE")] == [2]


def test_what_happened_long_ago_to_leases_that_are_over_is_forgotten(engine):
    """A part at a time; what runs, what was private, and the newest number stay, and numbers go on after it."""
    leases, events = Rentals(engine), LeaseEvents(engine)
    for name in ("over", "late", "open"):
        lease, _ = leases.request(rental(name))
        events.note(lease, NOON, Happening("STEP"), Happening(LOGGED_IN, f"r.io/{name}"))
        if name != "open":
            leases.move(lease, failed(lease, after(0 if name == "over" else 99), Party.NOBODY, "no machine"))
    gone = [events.forget(after(1), most=2) for _ in range(3)]
    kept = [(e.lease_id, e.kind) for e in events.after(0)]
    gone += [events.forget(after(1_000), most=100) for _ in range(2)]
    newest = events.last()
    events.note(rental("late"), after(1_000), Happening("STEP"))

    assert gone == [2, 1, 0, 3, 0]
    assert [kind for name, kind in kept if name == "over"] == [LOGGED_IN]
    assert len(kept) == 4 + 1 + 3
    assert events.is_login_of_others("r.io/over", "bob")
    assert events.last() == newest + 1


def test_the_newest_number_is_never_forgotten(engine):
    """However quiet a market is: feeds and webhooks go on after the number that they have seen."""
    leases, events = Rentals(engine), LeaseEvents(engine)
    lease, _ = leases.request(rental())
    leases.move(lease, failed(lease, NOON, Party.NOBODY, "no machine"))

    assert events.forget(after(1), most=100) == 1
    assert [e.sequence for e in events.after(0)] == [2]
