"""Making an account on the page: open to everybody where the market says so, empty, and so many only."""

from dataclasses import replace
from datetime import timedelta

import pytest

from deployments.marketplace.buckets import Rate
from storage.renter import Scope
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import At, Browser
from tests.deployments.marketplace.world import NO_LIMITS, world

FORM = "/sign-up"


@pytest.fixture
def site(tmp_path):
    """A market in which everybody may make an account."""
    with world(tmp_path, is_sign_up_open=True) as made:
        yield made


def enrol(browser):
    """By the form."""
    return browser.submit(browser.get(FORM), FORM)


def key_of(answer):
    """What is shown once."""
    return next(text for text in read(answer).texts if text.startswith("sn_"))


def self_made(market):
    """Who made an account by itself."""
    return [renter for renter in market.stores.renters.all() if renter.is_self_made]


def test_an_account_is_made_without_anybody(site):
    """A name of its own, a key for everything, nothing in it; the browser is signed in, and so is who has the key."""
    browser = Browser(site.app)
    answer = enrol(browser)
    (renter,) = self_made(site)
    (key,) = site.stores.renters.keys(renter.renter_id)

    assert answer.status_code == 201
    assert renter.renter_id in read(answer).text
    assert (key.scopes, key.name) == ((Scope.ADMIN,), "first")
    account = read(browser.get("/account")).text
    assert f"Account of {renter.renter_id}" in account
    assert "balance, USD 0" in account
    assert site.client(token=key_of(answer)).get("/v1/me").json()["renter_id"] == renter.renter_id
    assert Browser(site.app).sign_in(key_of(answer)).status_code == 303


def test_the_key_is_shown_once(site):
    """In that answer, which nobody keeps, and nowhere in the state."""
    browser = Browser(site.app)
    answer = enrol(browser)
    kept = site.market.engine.raw_connection()
    rows = str(kept.execute("SELECT * FROM api_keys").fetchall())
    kept.close()

    assert answer.headers["cache-control"] == "no-store"
    assert key_of(answer).rpartition("_")[2] not in rows
    assert "sn_" not in browser.get("/account").text.replace("sn_…", "")


def test_a_form_makes_one_account(site):
    """Sent twice, be it after a reload: the second is told, and gets another form."""
    browser = Browser(site.app)
    page = browser.get(FORM)
    first, second = browser.submit(page, FORM), browser.submit(page, FORM)

    assert (first.status_code, second.status_code, len(self_made(site))) == (201, 409, 1)
    assert browser.submit(second, FORM).status_code == 201


def test_an_address_makes_a_few_a_day(tmp_path):
    """IPv6 has billions of addresses for everybody: there it is the network of one subscriber that counts."""
    with world(
        tmp_path, is_sign_up_open=True, limits=replace(NO_LIMITS, sign_ups=Rate(per_s=2 / 86_400, burst=2))
    ) as market:
        browser = Browser(market.app)
        statuses = [enrol(browser).status_code for _ in range(3)]
        refused = enrol(browser)
        market.clock.passes(43_200)

        assert statuses == [201, 201, 429]
        assert refused.headers["retry-after"] == "43200"
        assert "from this address" in read(refused).text
        assert enrol(browser).status_code == 201


def test_a_network_of_ipv6_is_one_address(tmp_path):
    """Its 64 bits are one subscriber's."""
    limits = replace(NO_LIMITS, sign_ups=Rate(per_s=1e-9, burst=1))
    with world(tmp_path, is_sign_up_open=True, limits=limits) as market:
        statuses = [
            enrol(At(market.app, address)).status_code
            for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "192.0.2.7")
        ]

    assert statuses == [201, 429, 201, 201]


def test_everybody_together_makes_so_many_a_day(tmp_path):
    """Counted in the state, so that a restart gives no more."""
    with world(tmp_path, is_sign_up_open=True, limits=replace(NO_LIMITS, sign_ups_a_day=2)) as market:
        statuses = [enrol(At(market.app, f"192.0.2.{n}")).status_code for n in range(3)]
        assert statuses == [201, 201, 429]
        again = market.rebuilt()
        assert enrol(Browser(again.app)).status_code == 429
        market.clock.passes(timedelta(days=1).total_seconds() + 1)

        assert enrol(Browser(again.app)).status_code == 201


def test_where_it_is_closed_nobody_makes_one(site):
    """The page says who does; a form that was opened before is refused."""
    browser = Browser(site.app)
    page = browser.get(FORM)
    browser.app = site.rebuilt(is_sign_up_open=False).app
    shown = read(browser.get(FORM))
    sent = browser.submit(page, FORM)

    assert "by its operator" in shown.text
    assert FORM not in shown.forms
    assert (sent.status_code, self_made(site)) == (403, [])


def test_without_tls_no_key_is_shown_to_another_computer(site):
    """It could be read on its way."""
    page = read(
        Browser(site.rebuilt(origins=("http://market.example",)).app, "http://market.example").get(FORM)
    )

    assert "without TLS" in page.text
    assert FORM not in page.forms


def test_the_form_is_of_our_page_and_this_browser(site):
    """Another site, or another browser's token: nothing is made."""
    browser, other = Browser(site.app), Browser(site.app)
    fields, others = read(browser.get(FORM)).forms[FORM], read(other.get(FORM)).forms[FORM]
    sent = [
        browser.send(FORM, fields, Origin="https://evil.example"),
        browser.send(FORM, {**fields, "form_token": others["form_token"]}),
    ]
    stolen = browser.send(FORM, {**fields, "nonce": others["nonce"]})

    assert [answer.status_code for answer in (*sent, stolen)] == [403, 403, 409]
    assert self_made(site) == []
