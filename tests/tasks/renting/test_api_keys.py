"""API keys: shown once, kept as a digest, of no use to whoever reads the database."""

from dataclasses import replace
from datetime import timedelta

import pytest

from storage.renter import Scope
from tasks.renting.api_keys import allows, ended, fits, new_key, parse
from tests.tasks.renting.leases import NOON


def test_a_new_key_fits_itself_and_nothing_else():
    """What is shown opens what is kept; another key's secret under its name does not."""
    shown, kept = new_key("alice", "laptop", {Scope.READ}, NOON)
    other, _ = new_key("alice", "laptop", {Scope.READ}, NOON)

    assert fits(parse(shown), kept)
    assert not fits(parse(other), kept)
    assert not fits(parse(other)._replace(key_id=kept.key_id), kept)


def test_the_secret_is_not_in_what_is_kept():
    """Neither the secret nor the whole text can be read off the record."""
    shown, kept = new_key("alice", "laptop", {Scope.READ}, NOON)

    assert parse(shown).secret not in repr(kept)
    assert len(parse(shown).secret) == 43


def test_a_digest_belongs_to_its_key():
    """Moved to another key's row, a known digest opens nothing."""
    shown, kept = new_key("alice", "laptop", {Scope.READ}, NOON)
    moved = replace(kept, key_id="f" * 16)

    assert not fits(parse(shown)._replace(key_id="f" * 16), moved)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sn__",
        "Bearer x",
        "sn_0123456789abcdef_short",
        "sn_gggggggggggggggg_" + "a" * 43,
        "sn_0123456789abcdef_" + "a" * 43 + "\n",
        "sn_0123456789abcdef_" + "ä" * 43,
        "a" * 10_000,
    ],
)
def test_what_is_no_key_is_not_looked_up(text):
    """Only our own form is taken apart; everything else is nothing, whatever its length."""
    assert parse(text) is None


def test_a_key_ends_when_it_expires_or_is_revoked():
    """At the very moment, with the moment in the reason."""
    _, key = new_key("alice", "laptop", {Scope.READ}, NOON, NOON + timedelta(hours=1))

    assert ended(key, NOON + timedelta(minutes=59)) == ""
    assert "expired at 2026-08-01 13:00:00 UTC" in ended(key, NOON + timedelta(hours=1))
    assert "revoked at 2026-08-01 12:00:00 UTC" in ended(replace(key, revoked_at=NOON), NOON)


def test_scopes_allow_themselves_and_admin_all():
    """A key that reads rents nothing; one of admin does everything."""
    _, reads = new_key("alice", "a", {Scope.READ}, NOON)
    _, admin = new_key("alice", "b", {Scope.ADMIN}, NOON)

    assert [allows(reads, scope) for scope in Scope] == [True, False, False, False]
    assert all(allows(admin, scope) for scope in Scope)
