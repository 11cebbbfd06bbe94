"""Templates on the account's page: kept, replaced, forgotten, and rented with; no secret of theirs is on any page."""

import pytest
import sqlalchemy as sa

from storage.database import writing
from storage.renter import Scope
from storage.tables import templates
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import signed_in
from tests.deployments.marketplace.world import world

LIST = "/account/templates"
FIELDS = {
    "name": "train",
    "about": "nightly <b>runs</b>",
    "image": "me/train:3",
    "ports": "8888, 9000/udp",
    "environment": "HF_TOKEN=secret-1\nMODE=fast",
    "volumes": "data:/data\ntmp:/scratch:wiped",
    "entrypoint": "/bin/sh",
    "words": "-c 'echo \"a b\"'",
    "shm_gib": "2.5",
    "memory_gib": "",
    "cpus": "3.5",
    "runtime": "runc",
    "registry_user": "me",
    "registry_password": "secret-2",
    "registry_server": "",
}


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A market."""
    with world(tmp_path_factory.mktemp("patterns")) as made:
        yield made


@pytest.fixture
def site(market):
    """The same, in which nobody keeps a template."""
    with writing(market.market.engine) as connection:
        connection.execute(sa.delete(templates))
    return market


def keep(browser, **fields):
    """By the form."""
    return browser.submit(browser.get(LIST), LIST, **{**FIELDS, **fields})


def told(market, name="train"):
    """What the API tells of it."""
    return market.client("alice").get(f"/v1/templates/{name}").json()


def test_a_template_is_kept_and_rented_with(site):
    """As the API keeps it; it stands in the list before the market's own, and leads to the form that rents."""
    browser = signed_in(site)
    answer = keep(browser)
    pod = told(site)["pod"]
    page = browser.get(LIST)

    assert (answer.status_code, answer.headers["location"]) == (303, LIST)
    assert (pod["image"], pod["words"], pod["entrypoint"]) == ("me/train:3", ["-c", 'echo "a b"'], "/bin/sh")
    assert pod["ports"] == [{"inside": 8888, "protocol": "tcp"}, {"inside": 9000, "protocol": "udp"}]
    assert [(one["volume"], one["is_kept"]) for one in pod["mounts"]] == [("data", True), ("tmp", False)]
    assert (pod["shm_bytes"], pod["cpus"], pod["runtime"]) == (5 << 29, 3.5, "runc")
    assert sorted(pod["environment"]) == ["HF_TOKEN", "MODE"]
    names = [link.removeprefix(f"{LIST}/") for link in read(page).links(f"{LIST}/")]
    assert names[0] == "train"
    assert {"ubuntu", "pytorch"} <= set(names)
    assert "<b>runs" not in page.text
    assert 'value="train" selected' in browser.get("/rent?template=train").text


def test_no_secret_of_a_template_is_on_a_page(site):
    """The names of its variables are."""
    browser = signed_in(site)
    keep(browser)
    page = browser.get(f"{LIST}/train")

    assert "HF_TOKEN, MODE" in read(page).text
    for text in (page.text, browser.get(LIST).text):
        assert "secret-1" not in text
        assert "secret-2" not in text


def test_a_template_is_replaced_as_it_stands_in_its_form(site):
    """The form has all of it but the secrets: sent as it is, only those are gone."""
    browser = signed_in(site)
    keep(browser)
    before = told(site)["pod"]
    own = f"{LIST}/train"
    page = browser.get(own)
    shown = {
        one["name"]: one.get("value", "")
        for one in read(page).all("input")
        if one.get("name") in FIELDS and one.get("type") != "password"
    }
    sent = {**shown, "volumes": "data:/data\ntmp:/scratch:wiped", "runtime": "runc", "about": "by day"}
    answer = browser.submit(page, own, **sent)
    after = told(site)

    assert (answer.status_code, answer.headers["location"]) == (303, own)
    assert after["pod"] == {**before, "environment": []}
    assert after["about"] == "by day"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "Train"}, "name"),
        ({"name": ""}, "name"),
        ({"image": ""}, "image"),
        ({"image": "Not An Image"}, "image"),
        ({"ports": "eight"}, "ports"),
        ({"volumes": "data"}, "volumes"),
        ({"volumes": "data:relative"}, "volumes"),
        ({"environment": "1X=2"}, "environment"),
        ({"words": "'"}, "words"),
        ({"cpus": "many"}, "cpus"),
        ({"shm_gib": "0.0001"}, "shm_gib"),
        ({"registry_password": ""}, "registry_password"),
        ({"about": "x" * 2_001}, "about"),
    ],
)
def test_what_does_not_fit_is_told_at_its_field(site, fields, field):
    """By the API's own rules; nothing is kept."""
    answer = keep(signed_in(site), **fields)

    assert answer.status_code == 422
    assert read(answer).fault(field) == f"fault-{field}"
    assert "Nothing was kept" in read(answer).text
    assert site.stores.templates.all("alice") == ()
    assert "secret-2" not in answer.text


def test_a_name_is_given_once_and_a_replacement_has_to_fit(site):
    """A second of its name is told there; a form that does not fit changes nothing."""
    browser = signed_in(site)
    keep(browser)
    second = keep(browser)
    own = f"{LIST}/train"
    bad = browser.submit(browser.get(own), own, image="Not An Image")

    assert (second.status_code, read(second).fault("name")) == (422, "fault-name")
    assert (bad.status_code, read(bad).fault("image")) == (422, "fault-image")
    assert told(site)["pod"]["image"] == "me/train:3"


def test_a_template_is_forgotten_by_its_owner_alone(site):
    """Nor does anybody else see it; the market's own are for looking."""
    browser, bob, reader = signed_in(site), signed_in(site, "bob"), signed_in(site, "alice", Scope.READ)
    keep(browser)
    own = f"{LIST}/train"
    fields = read(browser.get(own)).forms[f"{own}/forget"]

    assert bob.get(own).status_code == 404
    assert [one.send(f"{own}/forget", fields).status_code for one in (bob, reader)] == [403, 403]
    assert read(reader.get(own)).forms.keys() == {"/sign-out"}
    assert browser.send(f"{own}/forget", fields).status_code == 303
    assert browser.get(own).status_code == 404
    assert read(browser.get(f"{LIST}/ubuntu")).forms.keys() == {"/sign-out"}
