"""Volumes and backups through the API."""

from hashlib import blake2b

import pytest

from storage.rental import Backup
from tests.deployments.marketplace.test_leases import code
from tests.tasks.renting.leases import NOON


@pytest.fixture
def saved(market, tmp_path):
    """A marketplace whose backups are in a folder: alice has one of three bytes, bob another."""
    made = market.rebuilt(backups=tmp_path)
    for name, owner, state in (("b-1", "alice", "kept"), ("b-2", "bob", "kept"), ("b-3", "alice", "writing")):
        digest = blake2b(b"abc", digest_size=32).hexdigest()
        made.stores.backups.save(Backup(name, "l-1", owner, "volume:data", NOON, 3, digest, state))
        (tmp_path / f"{name}.tar").write_bytes(b"abc")
    return made


def test_a_volume_is_kept_once(market):
    """On no machine until a lease mounts it; the same again is the same."""
    client = market.client()
    first = client.post("/v1/volumes", {"name": "data"})

    assert (first.status_code, first.json()["state"], first.json()["executor_key"]) == (201, "new", "")
    assert client.post("/v1/volumes", {"name": "data"}).json() == first.json()
    assert client.get("/v1/volumes/data").json() == first.json()
    assert code(market.client("bob").get("/v1/volumes/data")) == (404, "NOT_FOUND")


def test_a_volume_that_a_lease_has_is_not_wiped(market):
    """Let go, it is; and it is not there for a new lease then."""
    client = market.client()
    client.post("/v1/volumes", {"name": "data"})
    market.stores.volumes.attach("alice", "data", "lease-x", "5Miner/a")
    assert code(client.delete("/v1/volumes/data")) == (409, "VOLUME_BUSY")
    market.stores.volumes.detach("lease-x")

    assert client.delete("/v1/volumes/data").json()["state"] == "doomed"
    assert code(client.delete("/v1/volumes/other")) == (404, "NOT_FOUND")


def test_a_backup_is_fetched_byte_for_byte(saved):
    """Its digest is the one that was told; another renter's is not there."""
    client = saved.client()
    shown, content = client.get("/v1/backups/b-1").json(), client.get("/v1/backups/b-1/content")

    assert blake2b(content.content, digest_size=32).hexdigest() == shown["blake2b"]
    assert content.headers["content-type"] == "application/x-tar"
    assert code(client.get("/v1/backups/b-2/content")) == (404, "NOT_FOUND")
    assert code(client.get("/v1/backups/b-3/content")) == (409, "BACKUP_NOT_WHOLE")


def test_a_deleted_backup_is_gone_with_its_file(saved, tmp_path):
    """One that is being written stays."""
    client = saved.client()

    assert client.delete("/v1/backups/b-1").status_code == 204
    assert not (tmp_path / "b-1.tar").exists()
    assert code(client.delete("/v1/backups/b-3")) == (409, "BACKUP_NOT_WHOLE")
    assert [one["backup_id"] for one in client.get("/v1/backups").json()["items"]] == ["b-3"]
