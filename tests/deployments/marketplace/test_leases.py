"""Leases through the API: asked for once, looked at, limited, ended."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.belongings import BlockedImages
from storage.certificates import Certificates
from storage.rental import Certificate, Happening, Party, RentalState
from storage.renter import BlockedImage, Scope
from tasks.renting.moves import noted
from tests.deployments.marketplace.world import SSH_KEY, ask, world
from tests.tasks.renting.leases import NOON, USD


def code(answer):
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["code"]


def test_a_lease_is_answered_at_once(market):
    """Kept with its work, named, and its starter waked: finding a machine is not waited for."""
    answer = ask(market.client())
    lease = answer.json()

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/leases/{lease['lease_id']}"
    assert (lease["state"], lease["queued"]) == ("requested", True)
    assert [work.subject for work in market.stores.works.unstarted()] == [lease["lease_id"]]
    assert market.starter.pokes == 1


def test_a_retried_request_is_one_lease(market):
    """The same key with the same body gets the lease of the first, wherever that stands now."""
    client = market.client()
    first = market.active(client)
    again = ask(client)

    assert (again.status_code, again.json()["lease_id"], again.json()["state"]) == (
        202,
        first.lease_id,
        "active",
    )
    assert len(client.get("/v1/leases").json()["items"]) == 1


def test_a_key_for_another_body_is_refused(market):
    """Also when only a secret of it is another; a key of another renter is another."""
    client = market.client()
    ask(client, pod={"image": "a", "environment": {"TOKEN": "one"}})

    assert code(ask(client, pod={"image": "a", "environment": {"TOKEN": "two"}})) == (
        409,
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert ask(market.client("bob"), pod={"image": "a"}).status_code == 202


def test_a_request_without_a_key_is_refused(market):
    """It could not be told from its retry."""
    answer = market.client().post("/v1/leases", {"pod": {"image": "a"}})

    assert code(answer) == (422, "DOES_NOT_FIT")
    assert "Idempotency-Key" in answer.json()["detail"]


def test_with_the_orchestrator_away_a_request_is_kept_and_says_so(market):
    """202, queued, and why; the work waits in the database."""
    market.starter.orchestrator = "away"
    lease = ask(market.client()).json()

    assert lease["queued"]
    assert "orchestrator, which does not answer now" in lease["detail"]


def test_a_started_request_is_not_queued(market):
    """Once its flow run is made."""
    client = market.client()
    lease_id = ask(client).json()["lease_id"]
    (work,) = market.stores.works.unstarted()
    market.stores.works.started(work.work_id, "run-1")

    assert client.get(f"/v1/leases/{lease_id}").json()["queued"] is False


def test_another_renters_lease_is_not_there(market):
    """Neither to look at nor to end: not even that there is one is told."""
    lease = market.active(market.client())
    bob = market.client("bob")

    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/bill"),
        ("GET", "/certificate"),
        ("GET", "/events"),
    ):
        assert code(bob.request(method, f"/v1/leases/{lease.lease_id}{path}")) == (404, "NOT_FOUND")
    assert bob.get("/v1/leases").json()["items"] == []


def test_a_stopped_renter_is_told_why(market):
    """It begins nothing, and may still look at and end what it has."""
    client = market.client()
    lease = market.active(client)
    market.stores.renters.stop("alice", NOON, "mining", NOON + timedelta(days=1))
    answer = ask(client, key="k-2")

    assert code(answer) == (403, "RENTER_STOPPED")
    assert "mining; what runs is ended at 2026-08-02 12:00 UTC" in answer.json()["detail"]
    assert client.get(f"/v1/leases/{lease.lease_id}").status_code == 200
    assert client.delete(f"/v1/leases/{lease.lease_id}").status_code == 202


@pytest.mark.parametrize("image", ["bad/miner", "bad/miner:2", "docker.io/bad/miner:latest"])
def test_a_blocked_image_is_refused(market, image):
    """Under all of its names, with the operator's reason."""
    BlockedImages(market.market.engine).block(BlockedImage("bad/*", "mines coins", "op", NOON))
    answer = ask(market.client(), pod={"image": image})

    assert code(answer) == (403, "IMAGE_BLOCKED")
    assert "mines coins" in answer.json()["detail"]


def test_too_little_money_is_told_before_anything_begins(tmp_path):
    """Ten minutes of the cheapest machine that fits must be there: 1 USD an hour x 600 s."""
    with world(tmp_path, usd=0) as market:
        answer = ask(market.client())

        assert code(answer) == (402, "BALANCE_TOO_LOW")
        assert "0.166666 USD are needed" in answer.json()["detail"]
        assert market.stores.works.unstarted() == ()


@pytest.mark.parametrize(
    "wish",
    [{"mode": "spot"}, {"mode": "reserved"}, {"hours": 5}, {"bid_micro_usd_per_hour": 5}, {"mode": "barter"}],
)
def test_a_mode_needs_its_numbers_and_no_others(market, wish):
    """A spot lease a bid, a reserved one its hours."""
    assert ask(market.client(), wish=wish).status_code == 422


def test_an_end_in_the_past_is_refused(market):
    """At the request and later."""
    client = market.client()
    lease_id = ask(client, ends_by="2026-08-01T12:00:01Z").json()["lease_id"]

    assert code(ask(client, key="k-2", ends_by="2026-08-01T12:00:00Z")) == (422, "IN_THE_PAST")
    assert code(client.patch(f"/v1/leases/{lease_id}", {"ends_by": "2020-01-01T00:00:00Z"})) == (
        422,
        "IN_THE_PAST",
    )


def test_secrets_go_in_and_never_out(market):
    """Of an environment the names are answered; what is kept is sealed."""
    secret = "hunter2-hunter2"
    pod = {
        "image": "registry.example/a:1",
        "environment": {"TOKEN": secret},
        "registry": {"user": "me", "password": secret},
    }
    client = market.client()
    lease = ask(client, pod=pod).json()
    kept = market.stores.rentals.get(lease["lease_id"])

    assert lease["pod"]["environment"] == ["TOKEN"]
    assert secret not in json.dumps(client.get("/v1/leases").json())
    assert secret not in repr(kept)
    assert market.market.sealer.open(kept.lease_id, kept.sealed) == {
        "environment": {"TOKEN": secret},
        "registry": {"user": "me", "password": secret, "server": ""},
    }


def test_a_lease_lets_the_renters_keys_in(market):
    """All that it keeps, or those that are named; and lines beside them, each once."""
    client = market.client()
    client.post("/v1/ssh-keys", {"name": "laptop", "public_line": SSH_KEY})

    def keys_of(key, **pod):
        return ask(client, key=key, pod={"image": "a", **pod}).json()["pod"]["public_keys"]

    assert keys_of("k-1") == [SSH_KEY]
    assert keys_of("k-2", ssh_keys=[]) == []
    assert keys_of("k-3", ssh_keys=["laptop"], public_keys=[SSH_KEY]) == [SSH_KEY]
    assert code(ask(client, key="k-4", pod={"image": "a", "ssh_keys": ["desk"]})) == (422, "NO_SUCH_SSH_KEY")
    lines = [SSH_KEY.replace(SSH_KEY.split()[1][-8:], f"{number:08}") for number in range(64)]
    assert len(keys_of("k-5", ssh_keys=[], public_keys=lines)) == 64
    too_many = ask(client, key="k-6", pod={"image": "a", "public_keys": lines})
    assert code(too_many) == (422, "TOO_MANY_SSH_KEYS")


def test_a_volume_that_is_mounted_is_there_from_then_on(market):
    """Made with the request, and refused to a second lease while the first has it."""
    client = market.client()
    pod = {"image": "a", "mounts": [{"volume": "data", "at": "/data"}]}
    assert ask(client, pod=pod).status_code == 202
    assert [one["name"] for one in client.get("/v1/volumes").json()["items"]] == ["data"]
    market.stores.volumes.attach("alice", "data", "lease-x", "5Miner/m-000")

    assert code(ask(client, key="k-2", pod=pod)) == (409, "VOLUME_BUSY")


def test_leases_are_listed_newest_first_in_pages(market):
    """By state if asked; a page goes on where the last ended, whatever came meanwhile."""
    client, made = market.client(), []
    for number in range(5):
        market.clock.passes(1)
        made.insert(0, ask(client, key=f"k-{number}").json()["lease_id"])
    first = client.get("/v1/leases?limit=2").json()
    market.clock.passes(1)
    ask(client, key="k-new")
    rest = client.get(f"/v1/leases?limit=9&cursor={first['next_cursor']}").json()

    assert [one["lease_id"] for one in first["items"] + rest["items"]] == made
    assert rest["next_cursor"] is None
    assert client.get("/v1/leases?state=active").json()["items"] == []
    assert len(client.get("/v1/leases?state=requested&state=active").json()["items"]) == 6


def test_a_lease_says_what_it_costs_and_how_it_is_reached(market):
    """To the second from the hand-over: 1 USD an hour for 90 s are 0.025 USD."""
    client = market.client()
    lease = market.active(client)
    market.clock.passes(90)
    shown = client.get(f"/v1/leases/{lease.lease_id}").json()

    assert (shown["cost_micro_usd"], shown["cost_usd"], shown["usd_per_hour"]) == (
        25_000,
        "0.025000",
        "1.000000",
    )
    assert shown["access"]["ssh_command"] == "ssh -p 30022 root@203.0.113.7"


def test_the_steps_of_the_present_attempt_are_shown(market):
    """Each as it was told last, a failed one with why and whose fault it is; those of an attempt before it are not."""
    client = market.client()
    lease = market.active(client)

    def step(name, state, attempt, **more):
        facts = {"name": name, "state": state, "attempt": attempt, **more}
        why = "no space" if state == "failed" else ""
        market.stores.events.note(lease, NOON, Happening("STEP", why, json.dumps(facts)))

    step("pull", "failed", 0, seconds=9)
    step("prove", "running", 1)
    step("prove", "done", 1, seconds=1.25)
    step("pull", "failed", 1, seconds=3, party="machine")
    step("undo volumes", "running", 1)

    assert client.get(f"/v1/leases/{lease.lease_id}").json()["steps"] == [
        {"name": "prove", "seconds": 1.25, "state": "done", "party": "nobody", "why": ""},
        {"name": "pull", "seconds": 3.0, "state": "failed", "party": "machine", "why": "no space"},
        {"name": "undo volumes", "seconds": 0.0, "state": "running", "party": "nobody", "why": ""},
    ]


def test_a_link_has_its_token_for_keys_that_may_rent(market):
    """Jupyter's token is made for the lease; who may only read gets no link."""
    client = market.client()
    lease = market.active(client, pod={"template": "jupyter"})
    path = f"/v1/leases/{lease.lease_id}"
    (link,) = client.get(path).json()["access"]["links"]

    assert link["name"] == "jupyter"
    assert link["url"].startswith("http://203.0.113.7:31000/lab?token=")
    assert len(link["url"].partition("token=")[2]) == 32
    assert market.client("alice", Scope.READ).get(path).json()["access"]["links"] == []


def test_a_link_outlives_its_templates_image(market):
    """A newer marketplace pins another one: what runs keeps its page. Another image of the renter's has none."""
    client = market.client()
    lease = market.active(client, pod={"template": "jupyter"})
    older = noted(lease, NOON, pod=replace(lease.pod, image="quay.io/jupyter/pytorch-notebook:older"))
    assert market.stores.rentals.move(lease, older)
    other = market.active(client, key="k-2", pod={"template": "jupyter", "image": "me/notebook:1"})

    found = [client.get(f"/v1/leases/{one.lease_id}").json()["access"]["links"] for one in (lease, other)]
    assert [len(links) for links in found] == [1, 0]


def test_limits_are_changed_one_by_one(market):
    """What is not given stays; null takes the end away."""
    client = market.client()
    path = f"/v1/leases/{market.active(client, terms={'ttl_s': 60}).lease_id}"
    changed = client.patch(path, {"ends_by": "2026-08-02T00:00:00Z", "cap_micro_usd": 5 * USD}).json()

    assert (changed["terms"]["ttl_s"], changed["terms"]["cap_micro_usd"]) == (60, 5 * USD)
    assert changed["ends_by"] == "2026-08-02T00:00:00Z"
    assert client.patch(path, {"ttl_s": 120}).json()["ends_by"] == "2026-08-02T00:00:00Z"
    assert client.patch(path, {"ends_by": None}).json()["ends_by"] is None


@pytest.mark.parametrize("change", [{"ttl_s": 1}, {"cap_micro_usd": 1}])
def test_no_limit_takes_back_what_was_used(market, change):
    """An hour was used: a limit of a second or of a micro-USD is refused, and the hour is paid."""
    client = market.client()
    path = f"/v1/leases/{market.active(client).lease_id}"
    market.clock.passes(3_600)

    assert code(client.patch(path, change)) == (409, "NOT_FROM_THIS_STATE")
    assert client.delete(path).json()["cost_micro_usd"] == USD


def test_an_ended_lease_is_ended_once(market):
    """Its end is asked for with its work; again it changes nothing, and it is paid until the first time."""
    client = market.client()
    path = f"/v1/leases/{market.active(client).lease_id}"
    market.clock.passes(3_600)
    first = client.delete(path)
    market.clock.passes(3_600)
    again = client.delete(path)

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["end_asked_at"] == again.json()["end_asked_at"] == "2026-08-01T13:00:00Z"
    assert (again.json()["state"], again.json()["cost_micro_usd"]) == ("ending", USD)
    assert again.json()["detail"].startswith("its end is asked for")
    assert again.json()["queued"]


def test_an_over_lease_has_no_limits_to_change(market):
    """Refused with its state."""
    client = market.client()
    lease_id = ask(client).json()["lease_id"]
    lease = market.stores.rentals.get(lease_id)
    over = replace(
        lease, state=RentalState.FAILED, version=1, party=Party.PLATFORM, reason="no machine is free"
    )
    market.stores.rentals.move(lease, over)

    assert code(client.patch(f"/v1/leases/{lease_id}", {"ttl_s": 5})) == (409, "NOT_FROM_THIS_STATE")
    assert client.get(f"/v1/leases/{lease_id}").json()["reason"] == "no machine is free"


def test_a_bill_has_what_was_used_since_its_last_line(market):
    """Nothing was metered yet: all of it is unbilled."""
    client = market.client()
    lease = market.active(client)
    market.clock.passes(36)

    assert client.get(f"/v1/leases/{lease.lease_id}/bill").json() == {
        "lease_id": lease.lease_id,
        "lines": [],
        "micro_usd": 0,
        "usd": "0.000000",
        "unbilled_micro_usd": 10_000,
        "unbilled_usd": "0.010000",
    }


def test_a_certificate_has_everything_that_judges_it_again(market):
    """The transcript byte for byte, with its digest, and how to check it."""
    client = market.client()
    lease = market.active(client)
    proof = Certificate(
        lease.lease_id, 1, "hand-over", NOON, lease.executor_key, "PROVED", lease.card_uuids, "{}", b'{"a":1}'
    )
    Certificates(market.market.engine).save(proof)
    shown = client.get(f"/v1/leases/{lease.lease_id}/certificate").json()

    assert shown["proofs"][0]["transcript"] == "eyJhIjoxfQ=="
    assert len(shown["proofs"][0]["transcript_blake2s"]) == 64
    assert "subnet rent certificate verify" in shown["how_to_check"]


HOSTILE = [
    "\0",
    "\ud800",
    "'; rm -rf / #",
    "$(reboot)",
    "`id`",
    "--privileged",
    "\n\r",
    "a" * 65_536,
    "☃" * 9,
    "-v/:/host",
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(HOSTILE) | st.text(max_size=50), max_size=5))
def test_tenant_text_is_kept_as_it_is_or_refused(market, words):
    """Whatever the words of a command: what is taken is what was sent, and nothing is a fault of ours."""
    client = market.client()
    body = json.dumps({"pod": {"image": "a", "words": words}})
    headers = {"Content-Type": "application/json"}
    answer = client.request(
        "POST", "/v1/leases", key=f"k-{hash(tuple(words))}", content=body, headers=headers
    )

    assert answer.status_code in (202, 422)
    if answer.status_code == 202:
        assert answer.json()["pod"]["words"] == words
