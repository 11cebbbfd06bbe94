"""The market's numbers in the state: what is newer wins, a source that is away loses nothing, portions move once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from storage.prices import PriceStore
from storage.records import PORTION, TAO_USD, TOKEN, PriceAnswer, Quote
from tests.databases import fresh

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=10)
TAO = Quote(TOKEN, TAO_USD, 300.0, "a,b", NOON)
ANSWER = PriceAnswer("a", NOON, "", (replace(TAO, source="a"),))


@pytest.fixture
def store(tmp_path):
    """Over a migrated database."""
    engine = fresh(tmp_path)
    yield PriceStore(engine)
    engine.dispose()


def test_what_is_saved_comes_back(store):
    """Answers by source, numbers by kind and name; saving them twice changes nothing."""

    store.save([ANSWER], [TAO])
    store.save([ANSWER], [TAO])

    assert store.answers() == (ANSWER,)
    assert store.seen() == (TAO,)


def test_an_older_number_replaces_no_newer(store):
    """Two askers at once: whoever writes last, the newest number stays."""

    newer = replace(TAO, value=310.0, as_of=LATER)
    store.save([], [newer])
    store.save([], [TAO])

    assert store.seen() == (newer,)


def test_a_number_of_a_clock_that_was_ahead_is_replaced(store):
    """Dated after the asking that brings another: it would stand until that day, and never be called old."""

    store.save([], [replace(TAO, value=310.0, as_of=LATER)])
    store.save([ANSWER], [TAO])

    assert store.seen() == (TAO,)


def test_a_source_that_is_away_keeps_what_it_said(store):
    """The fault stands beside its last quotes."""

    store.save([ANSWER], [])
    store.save([PriceAnswer("a", LATER, "no answer", ())], [])

    assert store.answers() == (replace(ANSWER, asked_at=LATER, fault="no answer"),)


def test_portions_move_from_where_they_were(store):
    """Who moves them from another moment than the one that stands there changes nothing."""
    first = (Quote(PORTION, "H200", 0.5, "leases", NOON), Quote(PORTION, "L4", 0.5, "leases", NOON))
    second = (Quote(PORTION, "H200", 0.4, "leases", LATER), Quote(PORTION, "L4", 0.6, "leases", LATER))

    assert store.move_portions(None, first)
    assert not store.move_portions(None, second)
    assert store.move_portions(NOON, second)
    assert not store.move_portions(NOON, first)
    assert store.seen() == second
