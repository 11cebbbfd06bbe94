"""What an idempotency key was used for."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.rental import Party
from storage.rentals import Rentals
from storage.renters import Renters
from storage.requests import RequestsSeen
from tasks.renting.moves import failed
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, after, rental
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


def test_old_requests_are_forgotten_when_what_they_made_is_over(tmp_path):
    """A key of a lease that runs is known as long as it runs, and long after it; a part is forgotten at a time."""
    engine = fresh(tmp_path)
    Renters(engine).add(renter("alice"))
    seen, leases = RequestsSeen(engine), Rentals(engine)
    for key in ("over", "late", "open", "operation"):
        seen.first("alice", key, "aa", NOON)
        lease, _ = leases.request(rental(key, renter="alice")) if key != "operation" else (None, False)
        if key in ("over", "late"):
            ended = after(0 if key == "over" else 99)
            leases.move(lease, failed(lease, ended, Party.NOBODY, "no machine"))
    gone = [seen.forget(after(1), most=1) for _ in range(3)]
    digests = [seen.first("alice", key, "bb", after(9)) for key in ("over", "late", "open", "operation")]
    engine.dispose()

    assert gone == [1, 1, 0]
    assert digests == ["bb", "aa", "aa", "bb"]
