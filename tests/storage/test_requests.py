"""What an idempotency key was used for."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.renters import Renters
from storage.requests import RequestsSeen
from tests.databases import fresh
from tests.tasks.renting.leases import NOON
from tests.tasks.renting.renters import renter


@pytest.fixture
def seen(tmp_path):
    """The requests of alice and bob."""
    engine = fresh(tmp_path)
    for name in ("alice", "bob"):
        Renters(engine).add(renter(name))
    yield RequestsSeen(engine)
    engine.dispose()


def test_the_first_request_of_a_key_stays(seen):
    """A second with the key is told what the first was; another renter's key is another."""
    assert seen.first("alice", "k", "aa", NOON) == "aa"
    assert seen.first("alice", "k", "bb", NOON) == "aa"
    assert seen.first("bob", "k", "bb", NOON) == "bb"


def test_of_many_at_once_one_is_the_first(seen):
    """All of them are told the same."""
    with ThreadPoolExecutor(4) as pool:
        told = set(pool.map(lambda n: seen.first("alice", "k", f"{n:02}", NOON), range(20)))

    assert len(told) == 1
