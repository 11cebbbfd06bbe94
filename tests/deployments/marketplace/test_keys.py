"""API keys and SSH keys through the API."""

import pytest

from storage.renter import Scope
from tests.deployments.marketplace.test_leases import code
from tests.deployments.marketplace.world import OTHER_KEY, SSH_KEY


def test_a_key_is_shown_once(market):
    """In the answer that made it; lists have its name and scopes."""
    client = market.client()
    market.clock.passes(1)
    made = client.post("/v1/api-keys", {"name": "ci", "scopes": ["read"]})
    token = made.json()["token"]

    assert made.status_code == 201
    assert market.client(token=token).get("/v1/me").json()["scopes"] == ["read"]
    listed = client.get("/v1/api-keys")
    assert [key["name"] for key in listed.json()["items"]] == ["test", "ci"]
    assert token.rpartition("_")[2] not in listed.text


def test_a_rotated_key_goes_on_for_the_overlap(market):
    """Both open for an hour, then the new one alone; name and scopes are the old one's."""
    client = market.client()
    old = client.post("/v1/api-keys", {"name": "ci", "scopes": ["read", "rent"]}).json()
    new = client.post(f"/v1/api-keys/{old['key_id']}/rotate", {"overlap_s": 3_600}).json()
    by_old, by_new = market.client(token=old["token"]), market.client(token=new["token"])

    assert (new["name"], new["scopes"]) == ("ci", ["read", "rent"])
    assert [one.get("/v1/me").status_code for one in (by_old, by_new)] == [200, 200]
    market.clock.passes(3_600)
    assert [one.get("/v1/me").status_code for one in (by_old, by_new)] == [401, 200]
    assert code(client.post(f"/v1/api-keys/{old['key_id']}/rotate")) == (409, "KEY_ENDED")


def test_a_key_of_another_renter_is_not_there(market):
    """Neither to rotate nor to revoke."""
    bobs = market.client("bob").get("/v1/me").json()["key_id"]
    client = market.client()

    assert code(client.post(f"/v1/api-keys/{bobs}/rotate")) == (404, "NOT_FOUND")
    assert code(client.delete(f"/v1/api-keys/{bobs}")) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["root"]},
        {"name": "", "scopes": ["read"]},
        {"name": "a\nb", "scopes": ["read"]},
        {"name": "a", "scopes": ["read"], "expires_at": "2026-08-01T12:00:00Z"},
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(market, body):
    """Of no scope, of none that there is, without a name, or over before it begins."""
    assert market.client().post("/v1/api-keys", body).status_code == 422


def test_an_ssh_key_is_kept_by_its_name(market):
    """The same again is the same; another of its name is refused; forgotten, the name is free."""
    client = market.client("alice", Scope.RENT, Scope.READ)
    first = client.post("/v1/ssh-keys", {"name": "laptop", "public_line": SSH_KEY})
    assert (first.status_code, first.json()["fingerprint"][:7]) == (201, "SHA256:")
    assert client.post("/v1/ssh-keys", {"name": "laptop", "public_line": SSH_KEY}).json() == first.json()
    assert code(client.post("/v1/ssh-keys", {"name": "laptop", "public_line": OTHER_KEY})) == (
        409,
        "NAME_TAKEN",
    )

    assert client.delete("/v1/ssh-keys/laptop").status_code == 204
    assert code(client.delete("/v1/ssh-keys/laptop")) == (404, "NOT_FOUND")
    assert client.get("/v1/ssh-keys").json()["items"] == []
