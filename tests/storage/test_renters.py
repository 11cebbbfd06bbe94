"""Renters and their keys in the state."""

from dataclasses import replace
from datetime import timedelta

import pytest

from storage import renters as module
from storage.errors import StorageError, TooMany
from storage.renter import RenterState
from storage.renters import Renters
from tests.databases import fresh
from tests.tasks.renting.leases import NOON
from tests.tasks.renting.renters import LATER, api_key, renter


@pytest.fixture
def kept(tmp_path):
    """Renters of a migrated database that has alice."""
    engine = fresh(tmp_path)
    renters = Renters(engine)
    renters.add(renter())
    yield renters
    engine.dispose()


def test_a_renter_is_added_once(kept):
    """A second of the same name changes nothing."""
    assert not kept.add(renter(reason="another"))
    assert kept.add(renter("bob"))
    assert kept.all() == (renter(), renter("bob"))
    assert kept.get("carol") is None


def test_a_renter_is_stopped_and_allowed_again(kept):
    """Stopped with a reason and a time of grace, after which it is due; allowed, it is as before."""
    assert kept.stop("alice", NOON, "mining", LATER)
    stopped = renter(state=RenterState.STOPPED, stopped_at=NOON, grace_until=LATER, reason="mining")

    assert kept.get("alice") == stopped
    assert kept.due(LATER - timedelta(seconds=1)) == ()
    assert kept.due(LATER) == (stopped,)
    assert kept.allow("alice")
    assert kept.get("alice") == renter()
    assert not kept.stop("nobody", NOON, "", LATER)


def test_a_key_is_found_with_its_renter(kept):
    """By its name, in one look."""
    kept.add_key(api_key(), NOON)

    assert kept.key("0123456789abcdef") == (api_key(), renter())
    assert kept.key("f" * 16) is None


def test_a_key_of_nobody_is_refused(kept):
    """Keys belong to renters that there are."""
    with pytest.raises(StorageError):
        kept.add_key(api_key(renter_id="nobody"), NOON)


def test_a_key_is_revoked_by_its_renter_only(kept):
    """At once, once, and not by somebody else."""
    kept.add_key(api_key(), NOON)

    assert not kept.revoke_key("bob", "0123456789abcdef", NOON)
    assert kept.revoke_key("alice", "0123456789abcdef", NOON)
    assert not kept.revoke_key("alice", "0123456789abcdef", LATER)
    assert kept.keys("alice") == (api_key(revoked_at=NOON),)


def test_a_rotated_key_lives_on_for_the_overlap(kept):
    """The new one is there, the old one ends at the overlap's end, or at its own if that is earlier."""
    kept.add_key(api_key("a" * 16), NOON)
    kept.add_key(api_key("b" * 16, expires_at=NOON + timedelta(minutes=1)), NOON)

    assert kept.rotate_key("a" * 16, api_key("c" * 16), NOON, LATER)
    assert kept.rotate_key("b" * 16, api_key("d" * 16), NOON, LATER)
    ends = {key.key_id[0]: key.expires_at for key in kept.keys("alice")}
    assert ends == {"a": LATER, "b": NOON + timedelta(minutes=1), "c": None, "d": None}


def test_an_ended_key_can_not_be_rotated(kept):
    """Nothing is kept of the new one then."""
    kept.add_key(api_key("a" * 16, expires_at=NOON), NOON)

    assert not kept.rotate_key("a" * 16, api_key("c" * 16), NOON, LATER)
    assert len(kept.keys("alice")) == 1


def test_the_last_use_is_kept_to_the_minute(kept):
    """The first use is written at once; another within the minute costs no write."""
    kept.add_key(api_key(), NOON)
    first = kept.touch_key(api_key(), NOON)

    assert kept.touch_key(first, NOON + timedelta(seconds=59)) is first
    kept.touch_key(first, LATER)
    assert kept.keys("alice") == (api_key(last_used_at=LATER),)


def test_keys_are_bounded(kept):
    """A renter that has as many living keys as it may revokes one first."""
    for number in range(module.MAX_KEYS):
        kept.add_key(api_key(f"{number:016x}"), NOON)

    with pytest.raises(TooMany, match="API keys"):
        kept.add_key(api_key("f" * 16), NOON)
    kept.revoke_key("alice", f"{1:016x}", NOON)
    kept.add_key(replace(api_key("f" * 16)), NOON)
