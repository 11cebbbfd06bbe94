"""Templates: ours, pinned and honest; a renter's own, with secrets that stay inside."""

import re

from deployments.marketplace.builtin import BUILTIN
from tests.deployments.marketplace.test_leases import code
from tests.deployments.marketplace.world import ask


def test_ours_are_pinned_and_say_whether_they_were_seen_running():
    """No image floats: each is one digest, but for the one that is made here; each link leads to a port of its own."""
    for template in BUILTIN.values():
        assert re.search(r"@sha256:[0-9a-f]{64}\Z", template.pod.image) or template.is_local
        assert template.seen_running is (template.name == "plain")
        assert template.note.startswith("not yet run here") is not template.seen_running
        assert {link.port for link in template.links} <= {port.inside for port in template.pod.ports or ()}


def test_the_local_image_is_of_the_local_subnet(market):
    """Elsewhere nobody has it."""
    assert code(market.client().get("/v1/templates/plain")) == (404, "NOT_FOUND")
    shown = market.rebuilt(is_local=True).client().get("/v1/templates/plain").json()

    assert (shown["pod"]["image"], shown["seen_running"]) == ("subnet/plain:1", True)


def test_what_is_asked_for_counts_instead_of_the_template(market):
    """Its image and its ports stay where nothing else is said."""
    pod = {"template": "vllm", "words": ["--model", "other"], "environment": {"HF_TOKEN": "x"}}
    shown = ask(market.client(), pod=pod).json()["pod"]

    assert shown["image"] == BUILTIN["vllm"].pod.image
    assert shown["words"] == ["--model", "other"]
    assert [port["inside"] for port in shown["ports"]] == [8000]
    assert shown["environment"] == ["HF_TOKEN", "VLLM_API_KEY"]


def test_a_token_that_is_given_is_kept(market):
    """Only a missing one is made."""
    lease = ask(market.client(), pod={"template": "jupyter", "environment": {"JUPYTER_TOKEN": "mine"}}).json()
    kept = market.stores.rentals.get(lease["lease_id"])

    assert market.market.sealer.open(kept.lease_id, kept.sealed) == {"environment": {"JUPYTER_TOKEN": "mine"}}


def test_an_own_template_is_kept_replaced_and_forgotten(market):
    """By its name, each renter for itself."""
    client = market.client()
    body = {"name": "mine", "about": "my work", "pod": {"image": "a:1", "cpus": 2.5}}
    made = client.post("/v1/templates", body)
    assert (made.status_code, made.json()["is_own"], made.json()["pod"]["cpus"]) == (201, True, 2.5)
    assert code(client.post("/v1/templates", body)) == (409, "NAME_TAKEN")

    replaced = client.put("/v1/templates/mine", {"pod": {"image": "a:2"}}).json()
    assert (replaced["about"], replaced["pod"]["image"], replaced["pod"]["cpus"]) == ("", "a:2", 0.0)
    assert code(market.client("bob").get("/v1/templates/mine")) == (404, "NOT_FOUND")
    assert client.delete("/v1/templates/mine").status_code == 204
    assert code(client.put("/v1/templates/mine", {"pod": {"image": "a:2"}})) == (404, "NOT_FOUND")


def test_an_own_template_seals_its_secrets(market):
    """Neither answered nor readable where they are kept; a lease made from it has them."""
    client = market.client()
    pod = {
        "image": "a:1",
        "environment": {"TOKEN": "hunter2"},
        "registry": {"user": "me", "password": "hunter2"},
    }
    made = client.post("/v1/templates", {"name": "mine", "pod": pod})
    kept = market.stores.templates.get("alice", "mine")
    lease_id = ask(client, pod={"template": "mine"}).json()["lease_id"]
    lease = market.stores.rentals.get(lease_id)

    assert made.json()["pod"]["environment"] == ["TOKEN"]
    assert "hunter2" not in made.text + client.get("/v1/templates").text + repr(kept)
    sealed = market.market.sealer.open(lease_id, lease.sealed)
    assert (sealed["environment"], sealed["registry"]["password"]) == ({"TOKEN": "hunter2"}, "hunter2")


def test_own_templates_come_first(market):
    """One of mine stands before one of ours with its name."""
    client = market.client()
    client.post("/v1/templates", {"name": "ubuntu", "pod": {"image": "my/ubuntu:1"}})

    assert client.get("/v1/templates").json()["items"][0]["is_own"]
    assert ask(client, pod={"template": "ubuntu"}).json()["pod"]["image"] == "my/ubuntu:1"


def test_a_template_names_an_image_and_no_template(market):
    """Nor does a lease go without both."""
    client = market.client()

    assert code(client.post("/v1/templates", {"name": "a", "pod": {"template": "ubuntu"}})) == (
        422,
        "TEMPLATE_OF_TEMPLATE",
    )
    assert code(client.post("/v1/templates", {"name": "a", "pod": {}})) == (422, "NO_IMAGE")
    assert code(ask(client, pod={})) == (422, "NO_IMAGE")
    assert code(ask(client, key="k-2", pod={"template": "nothing"})) == (422, "NO_SUCH_TEMPLATE")
