"""What happened to leases: found by its number, its lease, its renter; private repositories by their name."""

import pytest
import sqlalchemy as sa

from storage.lease_events import LOGGED_IN, LeaseEvents
from storage.rental import Happening
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, rental


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


def test_logins_are_found_without_reading_what_else_happened(engine):
    """A pull waits for it: it takes as long with ten million events as with ten."""
    asked = []
    sa.event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[2:4]))
    LeaseEvents(engine).is_login_of_others("ghcr.io/alice/model", "bob")
    words, values = next(told for told in asked if "lease_events" in told[0])
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {words}", values).all()

    assert any("ix_lease_events_logins (message=?" in row[-1] for row in plan), plan


def test_events_of_one_kind(engine):
    """Of one lease, in order, and no others."""
    events, lease = LeaseEvents(engine), rental()
    events.note(lease, NOON, *(Happening(kind) for kind in ("STEP", "REPLACED", "STEP", "REPLACED")))

    assert [e.sequence for e in events.after(0, lease_id="l-1", kind="REPLACED", limit=10)] == [2, 4]
