"""Webhooks on the account's page: made, changed, given another secret, forgotten, and what they were told."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from storage.database import writing
from storage.renter import DeliveryState, Scope
from storage.tables import deliveries, webhooks
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import signed_in
from tests.deployments.marketplace.world import world
from tests.tasks.renting.leases import NOON
from tests.tasks.renting.renters import delivery, webhook

LIST = "/account/webhooks"
URL = "https://hooks.example.com/leases"


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A market."""
    with world(tmp_path_factory.mktemp("hooks")) as made:
        yield made


@pytest.fixture
def site(market):
    """The same, in which nobody has a webhook."""
    with writing(market.market.engine) as connection:
        connection.execute(sa.delete(deliveries))
        connection.execute(sa.delete(webhooks))
    return market


def make(browser, **fields):
    """By the form."""
    return browser.submit(browser.get(LIST), LIST, **{"url": URL, "kinds": "", **fields})


def of_alice(market):
    """What is kept."""
    return market.stores.webhooks.of_renter("alice")


def secret_of(answer):
    """What is shown once."""
    return next(text for text in read(answer).texts if text.startswith("whsec_"))


def test_a_webhook_is_made_and_its_secret_shown_once(site):
    """It is told of the kinds that were named; the list and its own page have no secret."""
    browser = signed_in(site)
    answer = make(browser, kinds="ENDED, ACTIVE\nFAILED")
    (one,) = of_alice(site)
    shown, listed = browser.get(f"{LIST}/{one.webhook_id}"), browser.get(LIST)

    assert answer.status_code == 201
    assert (one.url, one.kinds) == (URL, ("ACTIVE", "ENDED", "FAILED"))
    assert secret_of(answer) not in shown.text + listed.text
    assert "ACTIVE, ENDED, FAILED" in read(listed).text
    assert read(listed).links(f"{LIST}/") == [f"{LIST}/{one.webhook_id}"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"url": ""}, "url"),
        ({"url": "http://hooks.example.com/"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://user@hooks.example.com/"}, "url"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"kinds": "active"}, "kinds"),
        ({"kinds": "<b>"}, "kinds"),
        ({"kinds": " ".join(["A"] * 65)}, "kinds"),
    ],
)
def test_what_does_not_fit_is_told_at_its_field(site, fields, field):
    """By the API's own rules; nothing is made, and what was typed stays."""
    answer = make(signed_in(site), **fields)

    assert answer.status_code == 422
    assert read(answer).fault(field) == f"fault-{field}"
    assert of_alice(site) == ()
    assert "<b>" not in answer.text


def test_a_webhook_is_changed_disabled_and_forgotten(site):
    """As by the API; a change that does not fit is told at its field."""
    browser = signed_in(site)
    make(browser)
    (one,) = of_alice(site)
    own = f"{LIST}/{one.webhook_id}"
    changed = browser.submit(browser.get(own), own, url=f"{URL}/2", kinds="ENDED")
    bad = browser.submit(browser.get(own), own, url="ftp://x", kinds="")
    (now,) = of_alice(site)

    assert (changed.status_code, bad.status_code) == (303, 422)
    assert read(bad).fault("url") == "fault-url"
    assert (now.url, now.kinds, now.disabled_at) == (f"{URL}/2", ("ENDED",), site.clock.at)
    again = browser.submit(browser.get(own), own, url=f"{URL}/2", kinds="", is_enabled="yes")
    assert (again.status_code, of_alice(site)[0].disabled_at) == (303, None)
    assert browser.submit(browser.get(own), f"{own}/forget").status_code == 303
    assert (of_alice(site), browser.get(own).status_code) == ((), 404)


def test_another_secret_is_shown_once(site):
    """The old one signs no more."""
    browser = signed_in(site)
    first = secret_of(make(browser))
    (before,) = of_alice(site)
    own = f"{LIST}/{before.webhook_id}"
    answer = browser.submit(browser.get(own), f"{own}/rotate")

    assert answer.status_code == 201
    assert secret_of(answer) != first
    assert of_alice(site)[0].sealed != before.sealed
    assert secret_of(answer) not in browser.get(own).text


def test_a_form_that_is_sent_twice_makes_one_webhook(site):
    """A page that is loaded again, a press too many."""
    browser = signed_in(site)
    page = browser.get(LIST)
    made, again = (browser.submit(page, LIST, url=URL, kinds="") for _ in range(2))

    assert (made.status_code, again.status_code, len(of_alice(site))) == (201, 422, 1)
    assert "sent before" in read(again).text
    assert browser.submit(again, LIST, url=URL, kinds="").status_code == 201


def test_a_secret_that_was_shown_stays_when_its_page_is_loaded_again(site):
    """It was copied by then; the button of the new page gives another one."""
    browser = signed_in(site)
    make(browser)
    own = f"{LIST}/{of_alice(site)[0].webhook_id}"
    page = browser.get(own)
    first = browser.submit(page, f"{own}/rotate")
    (kept,) = of_alice(site)
    again = browser.submit(page, f"{own}/rotate")

    assert (first.status_code, again.status_code) == (201, 422)
    assert "sent before" in read(again).text
    assert of_alice(site) == (kept,)
    assert browser.submit(again, f"{own}/rotate").status_code == 201


def test_what_it_was_told_is_shown(site):
    """Newest first, fifty a page, with what came of the last try."""
    hook = webhook()
    site.stores.webhooks.add(hook)
    told = [delivery(number, created_at=NOON + timedelta(minutes=number)) for number in range(1, 53)]
    site.stores.webhooks.put(hook, told, 52)
    failed = replace(told[-1], attempts=3, http_status=500, fault="<b>no</b>", state=DeliveryState.GIVEN_UP)
    site.stores.webhooks.settle(told[-1], failed)
    browser = signed_in(site)
    page = browser.get(f"{LIST}/w1")
    (older,) = read(page).links(f"{LIST}/w1?cursor=")

    assert "ACTIVE l-1 given up 3 500 <b>no</b>" in read(page).text
    assert "<b>no" not in page.text
    assert page.text.count("/leases/l-1") == 50
    assert browser.get(older).text.count("/leases/l-1") == 2


def test_webhooks_are_their_renters(site):
    """Another renter sees and changes none; who may only read changes none."""
    make(signed_in(site))
    (one,) = of_alice(site)
    own = f"{LIST}/{one.webhook_id}"
    bob, reader = signed_in(site, "bob"), signed_in(site, "alice", Scope.READ)

    assert bob.get(own).status_code == 404
    assert own not in bob.get(LIST).text
    page = read(reader.get(own))
    assert {own, f"{own}/forget", LIST}.isdisjoint(page.forms)
    assert reader.send(f"{own}/forget", {}).status_code == 403
    assert bob.send(f"{own}/forget", {}).status_code == 403
    assert of_alice(site) == (one,)
