"""What a lease uses on its page: plots of the span that was chosen, or why there are none."""

from dataclasses import replace

import pytest

from deployments.marketplace.pages.metering import CHOICES
from storage.health import Metric
from storage.rental import CardUse, RentalState
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import signed_in
from tests.deployments.marketplace.world import ask

HOSTILE = '"><script>alert(1)</script>\u202e'


@pytest.fixture
def lease(market):
    """An active lease of alice."""
    return market.active(market.client())


def measure(market, lease, percent=50.0, **more):
    """One sample, now."""
    cards = (CardUse(lease.card_uuids[0], percent, 900, 81_920, 60, 300.0, 700.0),)
    market.stores.health.add(Metric(lease.lease_id, market.clock.at, cards, cpu_percent=120.0, **more))


def moved_to(market, lease, state, **more):
    """The lease in another state, as flows leave it."""
    now = market.stores.rentals.get(lease.lease_id)
    assert market.stores.rentals.move(now, replace(now, state=state, version=now.version + 1, **more))


def test_a_page_shows_what_its_lease_uses(market, lease):
    """A picture for each quantity, with all of it in words for whoever does not see it."""
    for percent in (40.0, 97.0):
        market.clock.passes(5)
        measure(market, lease, percent)
    page = read(signed_in(market).get(f"/leases/{lease.lease_id}"))
    labels = [found["aria-label"] for found in page.all("svg", role="img")]

    assert "GPU use: card 1 newest 97 %, least 40 %, most 97 %" in labels
    assert "GPU use 97 %" in page.text
    assert "Processor 1.20 cores" in page.text
    assert "Disk , MB/s" not in page.text
    assert page.text.count("Not told: the machine does not say") == 3
    (region,) = page.all("div", id="metrics")
    assert (region["data-live"], region["data-every-s"]) == (
        f"/leases/{lease.lease_id}/metrics?span=10min",
        "5",
    )


def test_nothing_is_sent_while_nothing_has_changed(market, lease):
    """A new sample, and the passing of time, are changes."""
    browser = signed_in(market)
    measure(market, lease)
    (region,) = read(browser.get(f"/leases/{lease.lease_id}")).all("div", id="metrics")
    known = {"If-None-Match": region["data-etag"]}
    assert browser.get(region["data-live"], headers=known).status_code == 304
    market.clock.passes(5)
    measure(market, lease, 60.0)
    answer = browser.get(region["data-live"], headers=known)
    assert (answer.status_code, "60 %" in read(answer).text) == (200, True)
    market.clock.passes(31)
    assert (
        browser.get(region["data-live"], headers={"If-None-Match": answer.headers["etag"]}).status_code == 200
    )


def test_a_long_span_is_drawn_once_a_minute(market, lease):
    """But asked for more often, since the lease is measured finely only while somebody asks."""
    browser, at = signed_in(market), f"/leases/{lease.lease_id}/metrics?span=24h"
    measure(market, lease)
    known = {"If-None-Match": browser.get(at).headers["etag"]}
    market.clock.passes(20)
    measure(market, lease)

    assert browser.get(at, headers=known).status_code == 304
    market.clock.passes(60)
    assert browser.get(at, headers=known).status_code == 200
    limits = market.market.limits.sampling
    assert all(one.every_s < limits.idle_s for one in CHOICES)


def test_a_span_is_chosen(market, lease):
    """By an address that can be kept; one that is none is the last ten minutes."""
    measure(market, lease)
    market.clock.passes(1_800)
    browser, at = signed_in(market), f"/leases/{lease.lease_id}"

    assert "nothing was measured yet" in read(browser.get(at)).text.lower()
    for span in ("1h", "24h", "all"):
        page = read(browser.get(f"{at}?span={span}"))
        assert "card 1" in str(page.all("svg", role="img"))
        assert [found["href"] for found in page.all("a", **{"aria-current": "true"})] == [
            f"{at}?span={span}#use"
        ]
    odd = browser.get(at, params={"span": HOSTILE})
    assert "<script>alert" not in odd.text
    assert odd.text.count('aria-current="true"') == 1


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (RentalState.STOPPED, "It stands still: nothing is measured."),
        (RentalState.ENDING, "It is being ended: nothing is measured any more."),
        (RentalState.ACTIVE, "Nothing was measured yet: the first values come within seconds."),
    ],
)
def test_it_says_why_there_is_nothing(market, lease, state, words):
    """In words."""
    if state is not RentalState.ACTIVE:
        moved_to(market, lease, state)

    assert words in read(signed_in(market).get(f"/leases/{lease.lease_id}/metrics")).text


def test_before_the_hand_over_nothing_is_measured(market):
    """And the page says from when on."""
    lease_id = ask(market.client()).json()["lease_id"]

    assert "It is measured from its hand-over on." in read(signed_in(market).get(f"/leases/{lease_id}")).text


def test_a_lease_that_is_over_shows_what_it_used(market, lease):
    """All of it, as long as it is kept; the page asks no more."""
    market.clock.passes(5)
    measure(market, lease)
    market.clock.passes(5)
    moved_to(market, lease, RentalState.ENDED, ended_at=market.clock.at)
    market.clock.passes(3_000)
    page = read(signed_in(market).get(f"/leases/{lease.lease_id}"))
    (region,) = page.all("div", id="metrics")

    assert "data-live" not in region
    assert "card 1" in str(page.all("svg", role="img"))
    market.stores.health.thin(market.clock.at, 1, 1, 1)
    gone = read(signed_in(market).get(f"/leases/{lease.lease_id}/metrics"))
    assert "Nothing of what it used is kept for this time." in gone.text
    assert gone.all("span", hidden=None) != []


def test_another_renters_use_is_not_there(market, lease):
    """Nor for whoever is not signed in."""
    assert signed_in(market, "bob").get(f"/leases/{lease.lease_id}/metrics").status_code == 404
    assert market.stranger().get(f"/leases/{lease.lease_id}/metrics").status_code == 303
