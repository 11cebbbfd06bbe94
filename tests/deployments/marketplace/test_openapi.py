"""The OpenAPI is true: what it describes is taken and answered so, and whatever else is sent is refused with a reason."""

import re
from dataclasses import replace

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import NO_LIMITS, OTHER_KEY, SSH_KEY, World, printed, world

schemathesis.openapi.format("ssh-public-key", st.sampled_from([SSH_KEY, OTHER_KEY]))
QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A marketplace in which alice has an active lease, a key, a template, a volume and a webhook."""
    limits = replace(NO_LIMITS, stream_s=0.2, poll_s=0.05)
    with world(tmp_path_factory.mktemp("openapi"), usd=10_000, limits=limits) as made:
        made.console.answers = Endless()
        client = made.client()
        made.active(client, pod={"image": "a:1", "mounts": [{"volume": "data", "at": "/data"}]})
        client.post("/v1/ssh-keys", {"name": "laptop", "public_line": SSH_KEY})
        client.post("/v1/templates", {"name": "mine", "pod": {"image": "a:1"}})
        client.post("/v1/webhooks", {"url": "https://hooks.example.com/"})
        yield made


class Endless(list):
    """Answers without end."""

    def pop(self, _=0):
        """Always the same."""
        return printed(b"2026-08-01T12:00:00Z hello\n")

    def __bool__(self):
        return True


@pytest.fixture(scope="module")
def schema(market: World):
    """As schemathesis sees it, over a real server."""
    with served(market.app) as url:
        yield schemathesis.openapi.from_url(f"{url}/v1/openapi.json")


@pytest.fixture(scope="module")
def token(market: World):
    """Alice's key as a call; another once somebody has revoked it, which is found out by trying everything."""
    held = [market.key()]

    def living():
        key, _ = market.stores.renters.key(held[0][3:19])
        if key.revoked_at or key.expires_at:
            held[0] = market.key()
        return held[0]

    return living


def operations(api):
    """Every method of every path."""
    return [
        (method, path, api["paths"][path][method])
        for path in api["paths"]
        for method in METHODS
        if method in api["paths"][path]
    ]


def test_every_operation_is_described(market):
    """A summary, what it does, examples of its errors' form, and who may ask."""
    api = market.stranger().get("/v1/openapi.json").json()

    for method, path, told in operations(api):
        where = f"{method} {path}"
        assert told["summary"], where
        assert told["description"], where
        assert {"400", "401", "403", "422", "429", "500", "503"} <= set(told["responses"]), where
        for status, answer in told["responses"].items():
            if status >= "4":
                assert list(answer["content"]) == ["application/problem+json"], where
        assert ("security" in told) is (path != "/v1/health"), where
    assert len(operations(api)) > 45


def test_what_begins_something_takes_an_idempotency_key(market):
    """All of them, and nothing else does."""
    api = market.stranger().get("/v1/openapi.json").json()
    with_key = {
        path
        for method, path, told in operations(api)
        if any(one["name"] == "Idempotency-Key" and one["required"] for one in told.get("parameters", ()))
    }

    assert with_key == {
        "/v1/leases",
        *(
            f"/v1/leases/{{lease_id}}/{what}"
            for what in ("stop", "start", "reboot", "replace", "keys", "backups", "restore")
        ),
    }
    assert re.search(r"Idempotency-Key", str(api))


described = schemathesis.pytest.from_fixture("schema")


@pytest.mark.slow
@described.parametrize()
@settings(max_examples=2, phases=[Phase.generate], **QUIET)
def test_what_is_sent_is_answered_as_described(case, token, market):
    """Some of everything that fits, and of what does not."""
    check(case, token, market)


@pytest.mark.long
@described.parametrize()
@settings(max_examples=50, **QUIET)
def test_nothing_is_found_in_all_that_can_be_sent(case, token, market):
    """Every example, every edge of every field, missing and unknown ones, and more at random."""
    check(case, token, market)


def check(case, token, market):
    """No fault of ours, and every answer is one of those described.

    Whoever sends what fits may still be refused for what it means, with a code of its own; but never for its form.
    """
    is_fitting = case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE
    if is_fitting and "lease_id" in (case.path_parameters or {}) and case.method != "DELETE":
        case.path_parameters["lease_id"] = market.stores.rentals.of_renter("alice")[-1].lease_id
    answer = case.call(headers={"Authorization": f"Bearer {token()}"})
    case.validate_response(answer, excluded_checks=[positive_data_acceptance, ignored_auth])

    if is_fitting and answer.status_code in (400, 422):
        assert answer.json()["code"] not in ("DOES_NOT_FIT", "BAD_REQUEST"), answer.text
