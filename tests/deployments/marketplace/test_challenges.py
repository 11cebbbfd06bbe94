"""Challenges: for one purpose and one browser, for five minutes, once."""

from datetime import timedelta

import pytest

from deployments.marketplace.challenges import MOST_TAKEN, Challenges
from deployments.marketplace.problems import Refused
from tests.deployments.marketplace.world import Clock


@pytest.fixture
def clock():
    """A clock by hand."""
    return Clock()


@pytest.fixture
def kept(clock):
    """Challenges by that clock."""
    return Challenges(clock.now)


def test_a_challenge_is_known_again_and_taken_once(kept):
    """By whoever it was made for."""
    made = kept.new("hotkey 5A", "browser")

    assert kept.read(made.text, "hotkey 5A", "browser") == made
    assert [kept.take(made), kept.take(made)] == [True, False]
    assert kept.read(made.text, "hotkey 5A", "browser") is None


def test_it_is_for_one_purpose_one_browser_and_one_process(kept, clock):
    """A text for one hotkey opens nothing for another, nor in another browser."""
    made = kept.new("hotkey 5A", "browser")

    assert kept.read(made.text, "hotkey 5B", "browser") is None
    assert kept.read(made.text, "hotkey 5A", "another") is None
    assert kept.read(made.text, "hotkey 5A", "") is None
    assert Challenges(clock.now).read(made.text, "hotkey 5A", "browser") is None


def test_it_lives_five_minutes(kept, clock):
    """And is told so to the second."""
    made = kept.new("p", "b")
    clock.passes(299)
    assert kept.read(made.text, "p", "b") == made
    clock.passes(1)

    assert kept.read(made.text, "p", "b") is None
    assert made.issued_at == clock.at - timedelta(minutes=5)


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "A", lambda t: "A" + t[1:], lambda _: "ä" * 60]
)
def test_what_was_not_made_here_is_none(kept, change):
    """Shortened, lengthened, changed, or no text at all."""
    made = next(one for one in iter(lambda: kept.new("p", "b"), None) if one.text[0] != "A")

    assert kept.read(change(made.text), "p", "b") is None


def test_one_has_one_way_of_writing(kept):
    """The same bytes by other characters would be taken twice."""
    made = next(one for one in iter(lambda: kept.new("p", "b"), None) if {"-", "_"} & set(one.text))

    assert kept.read(made.text.replace("-", "+").replace("_", "/"), "p", "b") is None


def test_what_was_taken_is_forgotten_when_it_would_have_ended(kept, clock):
    """However many are taken, memory is bounded: beyond that none is taken for five minutes."""
    for _ in range(MOST_TAKEN):
        assert kept.take(kept.new("p", "b"))
    clock.passes(100)
    with pytest.raises(Refused) as refused:
        kept.take(kept.new("p", "b"))
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "200"})
    clock.passes(200)

    assert kept.take(kept.new("p", "b"))
