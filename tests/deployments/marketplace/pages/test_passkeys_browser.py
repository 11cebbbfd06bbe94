"""Passkeys in a real browser, whose authenticator is the debugger's: from an account that has none to signing in with one."""

import re

import pytest

from tests.deployments.marketplace.pages.browser import CHROMIUM, chromium, faults_for_some
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import world

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("chromium"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]
DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A market in which everybody may make an account."""
    folder = tmp_path_factory.mktemp("passkeys-browser")
    with world(folder, is_sign_up_open=True) as market, served(market.app) as made:
        yield made


@pytest.fixture(scope="module")
def browser():
    """One for all tests."""
    with chromium() as made:
        yield made


@pytest.fixture
def page(browser, url):
    """A page of a visitor with a new device; whatever the browser complains of fails the test."""
    here = url.replace("127.0.0.1", "localhost")
    context = browser.new_context(base_url=here, viewport={"width": 360, "height": 900})
    context.set_default_timeout(15_000)
    made, complaints = context.new_page(), []
    made.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.debugger = context.new_cdp_session(made)
    made.debugger.send("WebAuthn.enable")
    made.device = made.debugger.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})
    made.by_number = url
    yield made
    context.close()
    assert complaints == []


def test_an_account_lives_by_its_passkey(page):
    """Made on the page, kept by the device, entered without a name or a key, forgotten."""
    page.goto("/sign-up")
    page.get_by_role("button", name="Make an account").click()
    name = page.get_by_role("heading", level=1).inner_text().removeprefix("Your account: ")
    page.get_by_label("Name of the passkey").fill("my phone")
    page.get_by_role("button", name="Keep").click()
    page.wait_for_url("**/account#passkeys")
    page.get_by_role("button", name="Sign out").click()
    page.goto("/sign-in?next=/leases")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(re.compile(r":\d+/leases$"))
    page.goto("/account")
    assert name in page.get_by_role("heading", level=1).inner_text()
    assert page.get_by_role("row", name="my phone (this browser)").is_visible()
    assert faults_for_some(page) == []  # last: it comes by a debugger, whose going takes the device along
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Forget my phone").click()
    page.wait_for_url("**/sign-in**")


def test_what_comes_of_nothing_is_told(page):
    """A device without a passkey for this site, and a user who is not verified: a sentence, and another try."""
    page.goto("/sign-in")
    page.debugger.send(
        "WebAuthn.setUserVerified",
        {"authenticatorId": page.device["authenticatorId"], "isUserVerified": False},
    )
    button = page.get_by_role("button", name="Use a passkey")
    button.click()
    page.get_by_text("Nothing came of it").wait_for()

    assert button.is_enabled()


def test_at_the_number_the_name_is_told(page):
    """Browsers have no passkeys at 127.0.0.1: the page leads to localhost."""
    page.goto(f"{page.by_number}/sign-in")
    assert page.get_by_role("button", name="Use a passkey").count() == 0
    page.get_by_role("link", name="localhost").click()
    page.wait_for_url("http://localhost:*/sign-in")

    assert page.get_by_role("button", name="Use a passkey").is_visible()
