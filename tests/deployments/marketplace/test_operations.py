"""What is asked of a lease that stands: kept once, in order, from the states that allow it."""

import json

import pytest

from deployments.marketplace.builtin import BUILTIN
from storage.rental import Backup, OperationState, RentalState
from tasks.renting.asking import OF_RULE
from tasks.renting.containers import MAX_PORTS
from tasks.renting.moves import stopped
from tests.deployments.marketplace.test_leases import code
from tests.deployments.marketplace.world import OTHER_KEY, SSH_KEY, ask
from tests.tasks.renting.leases import NOON


@pytest.fixture
def leased(market):
    """Alice's client and her active lease, with a key, a volume and a variable."""
    client = market.client()
    pod = {
        "image": "a:1",
        "public_keys": [SSH_KEY],
        "environment": {"TOKEN": "one"},
        "mounts": [{"volume": "data", "at": "/data"}],
    }
    return client, market.active(client, pod=pod), market


def op(leased, what, body=None, key="o-1"):
    """Ask it of the lease."""
    client, lease, _ = leased
    return client.post(f"/v1/leases/{lease.lease_id}/{what}", body, key=key)


def arguments(market, answer):
    """What is kept of an operation: its arguments and its secrets."""
    kept = market.stores.operations.get(answer.json()["operation_id"])
    return json.loads(kept.arguments), market.market.sealer.open(kept.operation_id, kept.sealed)


@pytest.mark.parametrize("what", ["stop", "reboot"])
def test_an_operation_is_answered_at_once(leased, what):
    """Kept with its work, and found by its name."""
    client, _, market = leased
    answer = op(leased, what)
    shown = answer.json()

    assert answer.status_code == 202
    assert (shown["kind"], shown["state"], shown["queued"]) == (what, "asked", True)
    assert client.get(answer.headers["location"]).json() == shown
    assert shown["operation_id"] in [work.subject for work in market.stores.works.unstarted()]


def test_no_key_is_one_of_a_rules_own(leased):
    """Whoever could take it first would keep the rule's stop from ever being asked for."""
    assert op(leased, "reboot", key=f"{OF_RULE}4 5950000").status_code == 422


def test_a_retried_operation_is_one(leased):
    """The same key is the same operation; with another body it is refused."""
    client, lease, _ = leased
    first, again = op(leased, "stop"), op(leased, "stop")

    assert first.json()["operation_id"] == again.json()["operation_id"]
    assert code(op(leased, "reboot")) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert len(client.get(f"/v1/leases/{lease.lease_id}/operations").json()["items"]) == 1


def test_what_can_not_come_to_it_is_refused(leased):
    """An active lease is not started, unless its stop is on the way; one that is being ended is left alone."""
    client, lease, _ = leased
    assert code(op(leased, "start")) == (409, "NOT_FROM_THIS_STATE")
    assert op(leased, "stop", key="o-2").status_code == 202
    assert op(leased, "start", key="o-3").status_code == 202
    client.delete(f"/v1/leases/{lease.lease_id}")

    refused = op(leased, "reboot", key="o-4")
    assert code(refused) == (409, "NOT_FROM_THIS_STATE")
    assert "being ended" in refused.json()["detail"]


def test_a_stopped_lease_is_started_and_not_stopped(leased):
    """From where it stands; nor does it get another image, which would have to be tried."""
    _, lease, market = leased
    market.stores.rentals.move(lease, stopped(lease, NOON))

    assert code(op(leased, "stop")) == (409, "NOT_FROM_THIS_STATE")
    assert code(op(leased, "replace", {"image": "b:2"}, key="o-1b")) == (409, "NOT_FROM_THIS_STATE")
    assert op(leased, "start", key="o-2").status_code == 202


def test_a_request_has_no_operations(market):
    """Nothing was handed over yet."""
    client = market.client()
    lease_id = ask(client).json()["lease_id"]

    assert code(client.post(f"/v1/leases/{lease_id}/stop", key="s")) == (409, "NOT_FROM_THIS_STATE")


def test_a_stopped_renter_may_stop_and_save_and_begin_nothing(leased):
    """Stop and backup go on; start and reboot do not."""
    _, _, market = leased
    market.stores.renters.stop("alice", NOON, "mining", NOON)

    assert code(op(leased, "reboot")) == (403, "RENTER_STOPPED")
    assert op(leased, "stop", key="o-2").status_code == 202
    assert op(leased, "backups", {"volume": "data"}, key="o-3").status_code == 202


def test_another_image_keeps_its_secrets_apart(leased):
    """Names of variables in the arguments, their values sealed for the operation."""
    _, _, market = leased
    answer = op(leased, "replace", {"image": "b:2", "environment": {"TOKEN": "two"}})

    assert arguments(market, answer) == (
        {"image": "b:2", "environment": ["TOKEN"]},
        {"environment": {"TOKEN": "two"}},
    )


def test_a_template_brings_its_command(leased):
    """Its image, its words, and a token that is made anew."""
    _, _, market = leased
    told, sealed = arguments(market, op(leased, "replace", {"template": "vllm"}))

    assert (told["template"], told["image"]) == ("vllm", BUILTIN["vllm"].pod.image)
    assert told["words"][0] == "--model"
    assert len(sealed["environment"]["VLLM_API_KEY"]) == 32


def test_a_templates_ports_are_published_beside_those_of_the_lease(market):
    """Its link leads somewhere; more ports than a container may have are refused at once."""
    client = market.client()

    def replaced(key, count):
        pod = {"image": "a:1", "ports": [{"inside": 9_000 + n} for n in range(count)]}
        lease = market.active(client, key=key, pod=pod)
        path = f"/v1/leases/{lease.lease_id}/replace"
        return client.post(path, {"template": "jupyter"}, key=f"replace-{key}")

    told, _ = arguments(market, replaced("k-1", 1))
    assert told["ports"] == [[9_000, "tcp"], [8_888, "tcp"]]
    refused = replaced("k-2", MAX_PORTS - 1)
    assert refused.status_code == 422
    assert "ports" in refused.json()["detail"]


@pytest.mark.parametrize("body", [{}, {"image": None}, {"words": None}])
def test_replacing_nothing_is_refused(leased, body):
    """It would only stop and start what runs."""
    assert code(op(leased, "replace", body)) == (422, "NOTHING_GIVEN")


def test_keys_are_added_and_removed(leased):
    """By line or by name in, by fingerprint out."""
    client, _, market = leased
    client.post("/v1/ssh-keys", {"name": "desk", "public_line": OTHER_KEY})
    fingerprint = "SHA256:" + "A" * 43
    own = client.get("/v1/ssh-keys").json()["items"][0]["fingerprint"]
    from deployments.marketplace.fields import fingerprint_of

    answer = op(leased, "keys", {"add_named": ["desk"], "remove": [fingerprint_of(SSH_KEY)]})

    assert arguments(market, answer)[0] == {"add": [OTHER_KEY], "remove": [SSH_KEY]}
    assert code(op(leased, "keys", {"remove": [fingerprint]}, key="o-2")) == (422, "NO_SUCH_SSH_KEY")
    assert code(op(leased, "keys", {}, key="o-3")) == (422, "NOTHING_GIVEN")
    assert own == fingerprint_of(OTHER_KEY)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (422, "NOTHING_GIVEN")),
        ({"volume": "data", "path": "/a"}, (422, "ONE_OF_TWO")),
        ({"volume": "other"}, (422, "NO_SUCH_VOLUME")),
        ({"path": "relative"}, (422, "DOES_NOT_FIT")),
    ],
)
def test_a_backup_is_of_one_place(leased, body, expected):
    """A volume that is mounted, or a folder."""
    assert code(op(leased, "backups", body)) == expected


def test_backups_are_bounded(leased):
    """A hundred for each renter; one that is deleted makes room."""
    client, _, market = leased
    for n in range(100):
        kept = Backup(f"b-{n}", "l-1", "alice", "volume:data", NOON, 3, "00" * 32, "kept")
        market.stores.backups.save(kept)

    assert code(op(leased, "backups", {"volume": "data"})) == (409, "TOO_MANY")
    assert client.delete("/v1/backups/b-7").status_code == 204
    assert op(leased, "backups", {"volume": "data"}, key="o-2").status_code == 202


def test_a_backup_is_written_back_to_where_it_came_from(leased):
    """Or to another place; another renter's backup is not there."""
    _, lease, market = leased
    for name, owner in (("b-1", "alice"), ("b-2", "bob")):
        market.stores.backups.save(
            Backup(name, lease.lease_id, owner, "volume:data", NOON, 5, "0" * 64, "kept")
        )
    back = op(leased, "restore", {"backup_id": "b-1"})
    elsewhere = op(leased, "restore", {"backup_id": "b-1", "path": "/old"}, key="o-2")

    assert arguments(market, back)[0] == {"backup_id": "b-1", "target": "volume:data"}
    assert arguments(market, elsewhere)[0] == {"backup_id": "b-1", "target": "path:/old"}
    assert code(op(leased, "restore", {"backup_id": "b-2"}, key="o-3")) == (404, "NOT_FOUND")


def test_an_operation_of_another_lease_is_not_there(leased):
    """Nor one of nobody."""
    client, lease, market = leased
    other = market.active(client, key="k-9")
    name = op(leased, "stop").json()["operation_id"]

    assert code(client.get(f"/v1/leases/{other.lease_id}/operations/{name}")) == (404, "NOT_FOUND")
    assert code(client.get(f"/v1/leases/{lease.lease_id}/operations/op-none")) == (404, "NOT_FOUND")


def test_an_operations_end_is_shown(leased):
    """With what came of it."""
    from dataclasses import replace

    client, lease, market = leased
    answer = op(leased, "backups", {"volume": "data"})
    kept = market.stores.operations.get(answer.json()["operation_id"])
    done = replace(kept, state=OperationState.DONE, ended_at=NOON, result='{"backup_id":"b-1"}')
    market.stores.operations.move(lease, kept, done)

    assert client.get(answer.headers["location"]).json()["result"] == {"backup_id": "b-1"}
    assert market.stores.rentals.get(lease.lease_id).state is RentalState.ACTIVE
