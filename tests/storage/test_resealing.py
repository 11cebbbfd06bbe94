"""A new key for everything that is sealed, whatever happens on the way."""

from dataclasses import replace

import pytest

from storage.belongings import Templates
from storage.errors import SealBroken
from storage.renter import Webhook
from storage.renters import Renters
from storage.resealing import reseal, sealing_tables
from storage.sealing import Sealer
from storage.webhooks import Webhooks
from tests.databases import fresh
from tests.tasks.renting.leases import NOON
from tests.tasks.renting.renters import renter, template


@pytest.fixture
def key(tmp_path):
    """The file of the key."""
    return tmp_path / "keys" / "secrets.key"


@pytest.fixture
def engine(tmp_path, key):
    """Secrets of a template and of a webhook, and a template that has none."""
    engine, sealer = fresh(tmp_path), Sealer.of(key)
    Renters(engine).add(renter("alice"))
    templates = Templates(engine)
    templates.add(template(name="mine", sealed=sealer.seal("t", {"TOKEN": "a"})))
    templates.add(template(name="bare", sealed=b""))
    hook = Webhook("w-1", "alice", "https://a.example", (), sealer.seal("w", {"secret": "b"}), NOON, 0)
    Webhooks(engine).add(hook)
    yield engine
    engine.dispose()


def opened(engine, sealer):
    """What opens now."""
    (hook,) = Webhooks(engine).of_renter("alice")
    sealed = Templates(engine).get("alice", "mine").sealed
    return sealer.open("t", sealed) | sealer.open("w", hook.sealed)


def test_all_of_it_opens_with_the_new_key_alone(engine, key):
    """The new key is in the old one's file; what had no secret has none."""
    before = Sealer.of(key)

    assert reseal(engine, key) == 2
    assert opened(engine, Sealer.of(key)) == {"TOKEN": "a", "secret": "b"}
    with pytest.raises(SealBroken):
        opened(engine, before)
    assert Templates(engine).get("alice", "bare").sealed == b""
    assert [path.name for path in key.parent.iterdir()] == [key.name]


def test_killed_before_the_key_is_in_its_place_it_is_begun_again(engine, key, tmp_path):
    """The database has the new key's seals, the file the old key: the new one still lies beside it."""
    old = key.read_bytes()
    reseal(engine, key)
    draft = key.with_name("secrets.key.new")
    key.rename(draft)
    key.write_bytes(old)
    key.chmod(0o600)

    assert reseal(engine, key) == 2
    assert opened(engine, Sealer.of(key)) == {"TOKEN": "a", "secret": "b"}
    assert not draft.exists()


def test_what_opens_with_no_key_stops_it_with_nothing_changed(engine, key):
    """The row is named, and the old key stays where it is."""
    templates, stranger = Templates(engine), Sealer.of(key.with_name("stranger"))
    templates.replace(replace(templates.get("alice", "bare"), sealed=stranger.seal("t", {"a": 1})))
    before = key.read_bytes()

    with pytest.raises(SealBroken, match="alice bare"):
        reseal(engine, key)
    assert key.read_bytes() == before
    assert opened(engine, Sealer.of(key)) == {"TOKEN": "a", "secret": "b"}


def test_every_table_with_a_seal_is_known():
    """Those of leases, operations, templates and webhooks."""
    assert {table.name for table in sealing_tables()} == {"rentals", "operations", "templates", "webhooks"}
