"""Signing in with a hotkey in a real browser, by hand and by a wallet that stands in it."""

import re

import pytest
from bittensor import sp_core

from tests.deployments.marketplace.pages.browser import CHROMIUM, chromium, faults_for_some
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import world

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("chromium"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]
MINER, OTHER = (sp_core.Keypair.create_from_uri(uri) for uri in ("//Miner", "//Other"))
WALLET = """
window.injectedWeb3 = { fake: { enable: async () => ({
  accounts: { get: async () => [{ address: await window.ownAddress() }] },
  signer: { signRaw: async ({ address, data, type }) => ({ signature: await window.signed(address, data, type) }) },
}) } };
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A market."""
    with world(tmp_path_factory.mktemp("hotkeys-browser")) as market, served(market.app) as made:
        yield made


@pytest.fixture(scope="module")
def browser():
    """One for all tests."""
    with chromium() as made:
        yield made


@pytest.fixture
def page(browser, url):
    """A page of a visitor who is new; whatever the browser complains of fails the test."""
    context = browser.new_context(base_url=url, viewport={"width": 360, "height": 900})
    context.set_default_timeout(15_000)
    made, complaints = context.new_page(), []
    made.on("pageerror", lambda error: complaints.append(str(error)))
    yield made
    context.close()
    assert complaints == []


def wrapped(address, data, kind):
    """As wallets sign texts."""
    assert (address, kind) == (MINER.ss58_address, "bytes")
    return "0x" + bytes(MINER.sign(b"<Bytes>" + bytes.fromhex(data[2:]) + b"</Bytes>")).hex()


def ask(page):
    """For the text."""
    page.goto("/sign-in/hotkey")
    page.get_by_label("Hotkey, SS58").fill(MINER.ss58_address)
    page.get_by_role("button", name="Show the text to sign").click()
    page.wait_for_url(re.compile("hotkey=5"))


def test_the_text_is_signed_elsewhere_and_pasted(page):
    """No button for a wallet where there is none; a wrong signature is told, and the text stays good."""
    ask(page)
    text = page.locator("#text").inner_text()
    assert page.get_by_role("button", name="Sign with the wallet").count() == 0
    page.get_by_label("Signature").fill("0x00")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_text("This is not the signature").wait_for()
    assert page.locator("#text").inner_text() == text
    assert faults_for_some(page) == []
    page.get_by_label("Signature").fill(bytes(MINER.sign(text.encode())).hex())
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/miner")


def test_a_wallet_in_the_browser_signs_it(page):
    """It is asked for the text as it stands, and what it answers is sent."""
    page.expose_function("ownAddress", lambda: MINER.ss58_address)
    page.expose_function("signed", wrapped)
    page.add_init_script(WALLET)
    ask(page)
    page.get_by_role("button", name="Sign with the wallet").click()
    page.wait_for_url("**/miner")


def test_a_wallet_that_refuses_keeps_no_other_from_being_asked(page):
    """The hotkey may be in the second one."""
    page.expose_function("ownAddress", lambda: MINER.ss58_address)
    page.expose_function("signed", wrapped)
    closed = "{ enable: async () => { throw new Error('not now'); } }"
    page.add_init_script(f"{WALLET} window.injectedWeb3 = {{ closed: {closed}, ...window.injectedWeb3 }};")
    ask(page)
    page.get_by_role("button", name="Sign with the wallet").click()
    page.wait_for_url("**/miner")


def test_a_wallet_without_the_hotkey_is_told(page):
    """And can be tried again."""
    page.expose_function("ownAddress", lambda: OTHER.ss58_address)
    page.add_init_script(WALLET)
    ask(page)
    button = page.get_by_role("button", name="Sign with the wallet")
    button.click()
    page.get_by_text("no wallet in this browser has this hotkey").wait_for()

    assert button.is_enabled()
