"""Who may ask: keys, scopes, and how often."""

from dataclasses import replace
from datetime import timedelta

import pytest

from deployments.marketplace.buckets import Rate
from deployments.marketplace.market import Limits
from storage.renter import Scope
from tests.deployments.marketplace.pages.visiting import At
from tests.deployments.marketplace.test_leases import code
from tests.deployments.marketplace.world import NO_LIMITS, ask, world
from tests.tasks.renting.leases import NOON


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer"},
        {"Authorization": "sn_0123456789abcdef_x"},
    ],
)
def test_without_a_key_nothing_is_told(market, headers):
    """401 with the challenge; only health is for everybody."""
    answer = market.stranger().get("/v1/leases", headers=headers)

    assert code(answer) == (401, "NO_KEY")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert market.stranger().get("/v1/health").status_code == 200


@pytest.mark.parametrize("text", ["x", "sn_0123456789abcdef_" + "a" * 43, "ä", "a" * 5_000])
def test_a_wrong_key_opens_nothing(market, text):
    """Whatever it looks like."""
    answer = market.stranger().get("/v1/me", headers={"Authorization": f"Bearer {text}".encode()})

    assert code(answer) == (401, "NO_SUCH_KEY")


def test_a_key_opens_until_it_expires_or_is_revoked(market):
    """From the very next request on."""
    held = market.client(token=market.key("alice", expires_at=NOON + timedelta(hours=1)))
    revoked = market.client()
    key_id = revoked.get("/v1/me").json()["key_id"]
    assert market.client().delete(f"/v1/api-keys/{key_id}").status_code == 204

    assert code(revoked.get("/v1/me")) == (401, "KEY_ENDED")
    assert held.get("/v1/me").status_code == 200
    market.clock.passes(3_600)
    assert code(held.get("/v1/me")) == (401, "KEY_ENDED")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/leases", Scope.READ),
        ("GET", "/v1/offers", Scope.READ),
        ("POST", "/v1/leases", Scope.RENT),
        ("POST", "/v1/ssh-keys", Scope.RENT),
        ("GET", "/v1/balance", Scope.MONEY),
        ("GET", "/v1/invoices", Scope.MONEY),
        ("GET", "/v1/api-keys", Scope.ADMIN),
        ("POST", "/v1/webhooks", Scope.ADMIN),
    ],
)
def test_a_scope_allows_what_it_says(market, method, path, scope):
    """Others are refused, with the scope that is needed; what is asked is not looked at before."""
    others = [one for one in Scope if one not in (scope, Scope.ADMIN)]
    refused = market.client("alice", *others).request(method, path, key="k", json={})

    assert code(refused) == (403, "SCOPE_MISSING")
    assert scope.value in refused.json()["mend"]
    assert market.client("alice", scope).request(method, path, key="k", json={}).status_code in (200, 422)


def test_a_key_is_used_as_often_as_it_may(tmp_path):
    """The answer says what is left; then 429 with when to come again; another key is another."""
    with world(tmp_path, limits=Limits(per_key=Rate(per_s=1, burst=2))) as market:
        client = market.client()
        left = [client.get("/v1/me").headers["ratelimit-remaining"] for _ in range(2)]
        refused = client.get("/v1/me")

        assert left == ["1", "0"]
        assert code(refused) == (429, "TOO_MANY_REQUESTS")
        assert refused.headers["retry-after"] == "1"
        assert market.client("bob").get("/v1/me").status_code == 200
        market.clock.passes(1)
        assert client.get("/v1/me").status_code == 200


def test_an_address_asks_as_often_as_it_may(tmp_path):
    """With and without keys."""
    with world(tmp_path, limits=Limits(per_address=Rate(per_s=1, burst=2))) as market:
        answers = [market.stranger().get("/v1/health") for _ in range(3)]

        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("limit", ["per_address", "per_visitor"])
def test_a_network_of_ipv6_is_one_address(tmp_path, limit):
    """Its 64 bits are one subscriber's; IPv4 within IPv6, as a server of both has it, is itself."""
    told = {
        "2001:db8::1": 200,
        "2001:db8::2": 429,
        "2001:db8:0:1::1": 200,
        "fe80::1%eth0": 200,
        "192.0.2.7": 200,
        "::ffff:192.0.2.7": 429,
        "::ffff:192.0.2.8": 200,
    }
    with world(tmp_path, limits=replace(NO_LIMITS, **{limit: Rate(per_s=1e-9, burst=1)})) as market:
        assert {address: At(market.app, address).get("/").status_code for address in told} == told


def test_keys_are_not_guessed(tmp_path):
    """After a few that open nothing, an address is not even told whether one does, until it has waited."""
    with world(tmp_path, limits=Limits(failures=Rate(per_s=0.1, burst=3))) as market:
        client, wrong = market.client(), {"Authorization": "Bearer sn_0123456789abcdef_" + "a" * 43}
        statuses = [market.stranger().get("/v1/me", headers=wrong).status_code for _ in range(4)]

        assert statuses == [401, 401, 401, 429]
        assert code(client.get("/v1/me")) == (429, "TOO_MANY_WRONG_KEYS")
        market.clock.passes(10)
        assert client.get("/v1/me").status_code == 200


def test_the_last_use_of_a_key_is_shown(market):
    """To the minute."""
    client = market.client()
    client.get("/v1/me")

    assert client.get("/v1/api-keys").json()["items"][0]["last_used_at"] == "2026-08-01T12:00:00Z"


def test_a_renter_who_is_stopped_keeps_its_reading_keys(market):
    """It sees why."""
    market.stores.renters.stop("alice", NOON, "unpaid", NOON)
    client = market.client()

    assert client.get("/v1/me").json()["reason"] == "unpaid"
    assert ask(client).status_code == 403


@pytest.mark.parametrize("query", ["?stat=active", "?=false", "?limit=2&=", "?a%00=1"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/leases"), ("GET", "/v1/balance"), ("POST", "/v1/leases")]
)
def test_a_question_that_is_not_described_is_refused(market, method, path, query):
    """A filter with a typo would show everything, and say nothing of it."""
    answer = market.client().request(method, f"{path}{query}", json={}, headers={"Idempotency-Key": "k"})

    assert code(answer) == (422, "DOES_NOT_FIT")
    assert answer.json()["errors"][0]["where"].startswith("query.")


def test_what_is_described_may_be_asked(market):
    """All of it."""
    assert market.client().get("/v1/leases?state=active&limit=2").status_code == 200
