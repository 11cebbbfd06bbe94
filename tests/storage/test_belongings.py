"""SSH keys and templates of renters, and images that are blocked."""

from dataclasses import replace

import pytest

from storage import belongings
from storage.belongings import BlockedImages, SshKeys, Templates
from storage.errors import TooMany
from storage.renter import BlockedImage
from storage.renters import Renters
from tests.databases import fresh
from tests.tasks.renting.leases import NOON
from tests.tasks.renting.renters import LATER, renter, ssh_key, template


@pytest.fixture
def engine(tmp_path):
    """A migrated database with alice and bob."""
    engine = fresh(tmp_path)
    for name in ("alice", "bob"):
        Renters(engine).add(renter(name))
    yield engine
    engine.dispose()


def test_an_ssh_key_has_one_name(engine):
    """The same again is the same; another under its name is refused; names of two renters are apart."""
    keys = SshKeys(engine)

    assert keys.add(ssh_key()) == ssh_key()
    assert keys.add(ssh_key(created_at=LATER)) == ssh_key()
    assert keys.add(ssh_key(fingerprint="SHA256:other")) is None
    assert keys.add(ssh_key(renter_id="bob", fingerprint="SHA256:other"))
    assert keys.all("alice") == (ssh_key(),)


def test_a_belonging_is_dropped_by_its_owner(engine):
    """Once, and not by somebody else."""
    keys, templates = SshKeys(engine), Templates(engine)
    keys.add(ssh_key())
    templates.add(template())

    assert (keys.drop("bob", "laptop"), templates.drop("bob", "mine")) == (False, False)
    assert (keys.drop("alice", "laptop"), templates.drop("alice", "mine")) == (True, True)
    assert (keys.drop("alice", "laptop"), templates.drop("alice", "mine")) == (False, False)


def test_a_template_is_added_once_and_replaced_in_place(engine):
    """Adding never overwrites; replacing keeps since when there is one."""
    templates = Templates(engine)
    newer = template(about="new", pod='{"image":"a"}', sealed=b"s", created_at=LATER, updated_at=LATER)

    assert templates.replace(newer) is None
    assert templates.add(template())
    assert not templates.add(newer)
    assert templates.replace(newer) == replace(newer, created_at=NOON)
    assert templates.get("alice", "mine") == replace(newer, created_at=NOON)
    assert templates.all("bob") == ()


def test_belongings_are_bounded(engine, monkeypatch):
    """A renter that has as many as it may drops one first; the same name again is not one more."""
    monkeypatch.setattr(belongings, "MAX_SSH_KEYS", 2)
    monkeypatch.setattr(belongings, "MAX_TEMPLATES", 1)
    keys, templates = SshKeys(engine), Templates(engine)
    keys.add(ssh_key("a"))
    keys.add(ssh_key("b"))
    templates.add(template("a"))

    assert keys.add(ssh_key("b")) == ssh_key("b")
    with pytest.raises(TooMany, match="SSH keys: 2"):
        keys.add(ssh_key("c"))
    with pytest.raises(TooMany, match="templates: 1"):
        templates.add(template("b"))


def test_an_image_is_blocked_and_allowed_again(engine):
    """Blocked twice, the newer reason counts."""
    images = BlockedImages(engine)
    newer = BlockedImage("*xmrig*", "mining again", "bob", LATER)
    images.block(BlockedImage("*xmrig*", "mining", "alice", NOON))
    images.block(newer)

    assert images.all() == (newer,)
    assert (images.unblock("*xmrig*"), images.unblock("*xmrig*")) == (True, False)
