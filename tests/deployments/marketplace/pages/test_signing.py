"""Signing in with an API key: what the browser gets, what it may, how it ends, and how others are kept out."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest

from deployments.marketplace.buckets import Rate
from deployments.marketplace.pages.forms import MAX_BYTES, token_of
from storage.renter import Scope
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import HERE, At, Browser, signed_in
from tests.deployments.marketplace.world import NO_LIMITS, world
from tests.tasks.renting.leases import NOON

WRONG = "sn_0123456789abcdef_" + "a" * 43


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A marketplace in which tests sign in and out, each with keys of its own."""
    with world(tmp_path_factory.mktemp("signing")) as made:
        yield made


def test_a_key_signs_a_browser_in(site):
    """It is led back to where it wanted to go, and is known there."""
    browser = Browser(site.app)
    sent = browser.get("/account?month=2026-08")
    assert (sent.status_code, sent.headers["location"]) == (303, "/sign-in?next=%2Faccount%3Fmonth%3D2026-08")
    answer = browser.sign_in(site.key("alice"), sent.headers["location"])

    assert (answer.status_code, answer.headers["location"]) == (303, "/account?month=2026-08")
    assert "Account of alice" in read(browser.get("/account")).text
    assert "alice" in read(browser.get("/")).text


def test_the_cookie_is_for_us_alone(site):
    """Scripts can't read it, other sites can't have it sent, and what it holds is nowhere in the state."""
    browser = signed_in(site)
    (line,) = [line for line in browser.set if line.startswith("session=")]
    told = {part.strip().lower() for part in line.split(";")}
    kept = site.market.engine.raw_connection()
    rows = kept.execute("SELECT * FROM page_sessions").fetchall()
    kept.close()

    assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= told
    assert "secure" not in told
    assert not any(browser.cookies["session"] in str(row) for row in rows)


def test_with_tls_it_goes_by_tls_only(tmp_path):
    """Also where a proxy of ours speaks TLS; nobody else's word is taken for it."""
    origins = ("https://market.example", "http://market.example")
    with world(tmp_path, trusted_proxies=(ip_network("192.0.2.1/32"),), origins=origins) as market:
        browser = Browser(market.app, "https://market.example")
        browser.headers["X-Forwarded-Proto"] = "https"
        assert browser.sign_in(market.key()).status_code == 303
        assert browser.cookies.keys() == {"__Host-session", "__Host-form"}
        assert all("Secure" in line for line in browser.set)
        assert "Account of alice" in read(browser.get("/account")).text

        liar = Browser(market.rebuilt(trusted_proxies=()).app, "http://market.example")
        liar.headers["X-Forwarded-Proto"] = "https"
        assert "without TLS" in read(liar.get("/sign-in")).text


def test_without_tls_no_key_is_taken_from_another_computer(site):
    """Neither asked for nor taken: it could be read on its way."""
    browser = Browser(site.rebuilt(origins=("http://market.example",)).app, "http://market.example")
    shown = browser.get("/sign-in")
    secret = browser.cookies["form"]
    sent = browser.send(
        "/sign-in", {"key": site.key(), "form_token": token_of(site.desk, secret, "/sign-in")}
    )

    assert "without TLS" in read(shown).text
    assert read(shown).all("input") == []
    assert sent.status_code == 403
    assert "session" not in browser.cookies


@pytest.mark.parametrize("key", ["", "x", WRONG, "ä", "a" * 5_000])
def test_a_wrong_key_is_told_at_its_field(site, key):
    """And not repeated."""
    browser = Browser(site.app)
    answer = browser.sign_in(key)

    assert answer.status_code == 401
    assert read(answer).fault("key") == "fault-key"
    assert key in {"", "x"} or key not in answer.text
    assert "session" not in browser.cookies


def test_keys_are_not_guessed_by_the_form(tmp_path):
    """It shares the count of wrong keys with the API: after a few nobody is told from this address whether one opens."""
    with world(tmp_path, limits=replace(NO_LIMITS, failures=Rate(per_s=0.1, burst=3))) as market:
        browser, right = Browser(market.app), market.key()
        statuses = [browser.sign_in(WRONG).status_code for _ in range(3)]
        refused = browser.sign_in(right)

        assert (statuses, refused.status_code) == ([401] * 3, 429)
        assert refused.headers["retry-after"] == "10"
        assert market.client(token=right).get("/v1/me").status_code == 429
        market.clock.passes(10)
        assert browser.sign_in(right).status_code == 303


def test_a_network_of_ipv6_guesses_as_one_address(tmp_path):
    """Its 64 bits are one subscriber's, who has an address for each guess."""
    with world(tmp_path, limits=replace(NO_LIMITS, failures=Rate(per_s=0.1, burst=2))) as market:
        statuses = [At(market.app, f"2001:db8::{n}").sign_in(WRONG).status_code for n in range(1, 4)]

        assert statuses == [401, 401, 429]
        assert At(market.app, "2001:db8:0:1::1").sign_in(market.key()).status_code == 303


def test_signing_out_ends_the_session_itself(site):
    """Whoever kept the cookie has nothing of it."""
    browser = signed_in(site)
    kept = dict(browser.cookies)
    answer = browser.submit(browser.get("/"), "/sign-out")
    assert answer.status_code == 303
    assert "session" not in browser.cookies
    browser.cookies = kept

    assert browser.get("/account").status_code == 303


@pytest.mark.parametrize("end", ["revoked", "expired", "old"])
def test_a_session_lives_no_longer_than_its_key(tmp_path, end):
    """And twelve hours at most."""
    with world(tmp_path) as market:
        hours = 1 if end == "expired" else 100
        key = market.key("alice", expires_at=NOON + timedelta(hours=hours))
        browser = Browser(market.app)
        browser.sign_in(key)
        assert browser.get("/account").status_code == 200
        if end == "revoked":
            market.stores.renters.revoke_key("alice", key[3:19], NOON)
        else:
            market.clock.passes(3_600 if end == "expired" else 12 * 3_600)

        assert browser.get("/account").status_code == 303


def test_a_browser_may_what_its_key_may(site):
    """What needs another scope is not shown, and refused when it is asked for."""
    browser = signed_in(site, "alice", Scope.READ)
    page = read(browser.get("/account"))

    assert "may not see money" in page.text
    assert "may not see keys" in page.text
    secret = browser.cookies["session"]
    answer = browser.send(
        "/account/keys", {"form_token": token_of(site.desk, secret, "/account/keys"), "name": "x"}
    )
    assert answer.status_code == 403
    assert "admin is needed" in read(answer).text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{HERE}.evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Origin": "http://[::1"},
        {"Origin": "http://[x]:8091"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "", "Sec-Fetch-Site": ""},
    ],
)
def test_a_form_of_another_site_is_refused(site, headers):
    """Even with a token that is right."""
    browser = signed_in(site)
    fields = read(browser.get("/account")).forms["/account/keys"] | {"name": "x", "scopes": "admin"}
    answer = browser.send("/account/keys", fields, **headers)

    assert answer.status_code == 403
    assert "another site" in read(answer).text


def test_a_form_needs_the_token_of_its_own_page_and_browser(site):
    """None, another form's, another browser's: refused, and nothing is done."""
    browser, other = signed_in(site), signed_in(site, "bob")
    page = read(browser.get("/account"))
    tokens = [
        "",
        "x" * 48,
        "ä",
        page.forms["/sign-out"]["form_token"],
        read(other.get("/account")).forms["/account/keys"]["form_token"],
    ]
    before = len(site.stores.renters.keys("alice"))
    sent = [
        browser.send("/account/keys", {"name": "x", "scopes": "admin", "form_token": token})
        for token in tokens
    ]

    assert [answer.status_code for answer in sent] == [403] * len(tokens)
    assert len(site.stores.renters.keys("alice")) == before


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data; boundary=x", 415),
        (b"\xff=1", "application/x-www-form-urlencoded", 400),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a=1" for _ in range(501)), "application/x-www-form-urlencoded", 400),
        (b"a" * (MAX_BYTES + 1), "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_is_no_form_is_refused(site, content, kind, status):
    """Bounded in bytes and fields, and text."""
    answer = signed_in(site).request("POST", "/account/keys", content=content, headers={"Content-Type": kind})

    assert answer.status_code == status
    assert read(answer).all("p", role="alert")


def test_a_long_address_is_come_back_to(site):
    """Who was led to the form from it is led back, whatever its form had in it."""
    browser, there = Browser(site.app), f"/rent?image=registry.example/{'a' * 500}"
    led = browser.get(there)
    answer = browser.submit(browser.get(led.headers["location"]), "/sign-in", key=site.key())

    assert answer.headers["location"] == there


def test_a_form_that_was_sent_after_the_session_leads_back_to_its_page(site):
    """By way of the form to sign in, which says that nothing was done; never to another site."""
    browser = signed_in(site)
    there = "/rent?machine=5Miner/m-000&count=1"
    fields = read(browser.get(there)).forms["/rent"]
    browser.cookies.clear()
    led = browser.send("/rent", fields, Referer=HERE + there).headers["location"]
    page = browser.get(led)
    strange = browser.send("/rent", fields, Referer="http://[").headers["location"]

    assert "nothing was done with the form" in read(page).text
    assert "nothing was done" not in read(browser.get("/sign-in")).text
    assert browser.submit(page, "/sign-in", key=site.key()).headers["location"] == there
    assert browser.sign_in(site.key(), strange).headers["location"] == "/account"


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil", "/a\r\nX: y", "javascript:x", ""]
)
def test_nobody_is_led_to_another_site(site, to):
    """After signing in it is a page of ours, whatever the link says."""
    browser = Browser(site.app)
    page = browser.get("/sign-in", params={"next": to})
    first = browser.submit(page, "/sign-in", key=site.key())
    second = browser.submit(browser.get("/sign-in"), "/sign-in", key=site.key(), then=to)

    assert [first.headers["location"], second.headers["location"]] == ["/account", "/account"]


def test_only_so_many_browsers_are_signed_in_with_a_key(tmp_path):
    """The oldest one is signed out; those that have ended are forgotten."""
    with world(tmp_path) as market:
        key, browsers = market.key(), []
        for _ in range(21):
            browsers.append(Browser(market.app))
            browsers[-1].sign_in(key)
            market.clock.passes(1)

        assert [browser.get("/account").status_code for browser in (browsers[0], browsers[1])] == [303, 200]
        market.clock.passes(12 * 3_600)
        Browser(market.app).sign_in(key)
        kept = market.market.engine.raw_connection()
        count = kept.execute("SELECT count(*) FROM page_sessions").fetchone()
        kept.close()
        assert count == (1,)
