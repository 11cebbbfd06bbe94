"""Browsers that are signed in, each by exactly one thing."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from storage.errors import StorageError
from storage.page_sessions import MOST_OF_A_HOLDER, PageSessions
from storage.renter import PageSession
from storage.renters import Renters
from tests.databases import fresh
from tests.tasks.renting.leases import NOON
from tests.tasks.renting.renters import api_key, renter

LATER = NOON + timedelta(hours=12)


@pytest.fixture
def engine(tmp_path):
    """A database with a key of alice."""
    engine = fresh(tmp_path)
    Renters(engine).add(renter())
    Renters(engine).add_key(api_key(), NOON)
    yield engine
    engine.dispose()


def session(digest, at=NOON, **of):
    """One of twelve hours."""
    return PageSession(digest, at, at + timedelta(hours=12), **of)


def test_a_session_is_of_a_key_or_of_a_hotkey(engine):
    """Each is found as it was, until it ends."""
    kept, own, signed = PageSessions(engine), session("a", key_id=api_key().key_id), session("b", hotkey="5A")
    kept.begin(own)
    kept.begin(signed)

    assert (kept.get("a", NOON), kept.get("b", NOON)) == (own, signed)
    assert kept.get("b", LATER) is None
    kept.end("b")
    assert kept.get("b", NOON) is None


@pytest.mark.parametrize("of", [{}, {"key_id": "0123456789abcdef", "hotkey": "5A"}])
def test_a_session_of_nobody_or_of_two_is_kept_by_no_database(engine, of):
    """A browser that is two at once would have the rights of both."""
    with pytest.raises(StorageError):
        PageSessions(engine).begin(session("a", **of))


def test_each_holder_has_its_own_twenty(engine):
    """The oldest one of a hotkey is signed out by its next, and nobody else's."""
    kept = PageSessions(engine)
    kept.begin(session("key", key_id=api_key().key_id))
    kept.begin(session("other", hotkey="5B"))
    for number in range(MOST_OF_A_HOLDER + 1):
        kept.begin(session(f"{number:02}", NOON + timedelta(seconds=number), hotkey="5A"))

    with engine.connect() as connection:
        left = set(connection.execute(sa.text("SELECT digest FROM page_sessions")).scalars())
    assert left == {"key", "other", *(f"{number:02}" for number in range(1, MOST_OF_A_HOLDER + 1))}
