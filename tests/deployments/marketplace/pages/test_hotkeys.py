"""Signing in by a hotkey's signature: what is asked, what is taken, and how others are kept out."""

from dataclasses import replace

import pytest
from bittensor import sp_core

from deployments.marketplace.buckets import Rate
from tasks.signing_in import read_sign_in
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import HERE, Browser, signed_in
from tests.deployments.marketplace.world import NO_LIMITS, world

MINER = sp_core.Keypair.create_from_uri("//Miner")
OTHER = sp_core.Keypair.create_from_uri("//Other")
ED_MINER = sp_core.Keypair.create_from_uri("//Miner", sp_core.CRYPTO_ED25519)
FORM = "/sign-in/hotkey"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A marketplace whose operator is somebody else."""
    with world(tmp_path_factory.mktemp("hotkeys")) as made:
        yield made


def shown(browser, signer=MINER, **query):
    """The page with the text for this hotkey."""
    return browser.get(FORM, params={"hotkey": signer.ss58_address, **query})


def text_of(page):
    """What it asks to sign."""
    return next(text for text in read(page).texts if text.startswith("subnet sign-in/1"))


def sign(text, signer=MINER):
    """As hex."""
    return "0x" + bytes(signer.sign(text.encode())).hex()


def enter(browser, signer=MINER, **query):
    """All of it."""
    page = shown(browser, signer, **query)
    return browser.submit(page, FORM, signature=sign(text_of(page), signer))


def test_a_signature_signs_a_browser_in(site):
    """It is led back to where it wanted to go, as this hotkey and as no renter."""
    browser = Browser(site.app)
    assert "Whose" in read(browser.get(FORM)).text
    answer = enter(browser, next="/miner?all=1")

    assert (answer.status_code, answer.headers["location"]) == (303, "/miner?all=1")
    assert MINER.ss58_address[:6] in read(browser.get("/")).text
    assert browser.get("/account").status_code == 303


def test_the_text_says_what_it_is_for(site):
    """This site, this hotkey, five minutes; nothing that a shell would read otherwise."""
    asked = read_sign_in(text_of(shown(Browser(site.app))))

    assert (asked.origin, asked.hotkey) == (HERE, MINER.ss58_address)
    assert (asked.ends_at - asked.issued_at).total_seconds() == 300


@pytest.mark.parametrize(
    "form",
    [
        lambda text, key: sign(text, key)[2:],
        lambda text, key: sign(text, key).upper().replace("0X", "0x"),
        lambda text, key: f"  {sign(text, key)}\n",
        lambda text, key: sign(f"<Bytes>{text}</Bytes>", key),
    ],
    ids=["bare", "capitals", "spaces", "wrapped"],
)
@pytest.mark.parametrize("signer", [MINER, ED_MINER], ids=["sr25519", "ed25519"])
def test_a_signature_may_come_as_wallets_write_it(site, form, signer):
    """Hex with 0x or without, and over the text in `<Bytes>`, as wallets in browsers sign texts."""
    browser = Browser(site.app)
    page = shown(browser, signer)

    assert browser.submit(page, FORM, signature=form(text_of(page), signer)).status_code == 303


@pytest.mark.parametrize(
    "wrong",
    ["", "0x", "0x" + "00" * 64, "0x" + "0" * 127, "zz" * 64, "ä", "a" * 20_000],
)
def test_a_wrong_signature_is_told_at_its_field(site, wrong):
    """The text stays the same, and is good still."""
    browser = Browser(site.app)
    page = shown(browser)
    answer = browser.submit(page, FORM, signature=wrong)

    assert answer.status_code == 401
    assert read(answer).fault("signature") == "fault-signature"
    assert text_of(answer) == text_of(page)
    assert "session" not in browser.cookies
    assert browser.submit(answer, FORM, signature=sign(text_of(page))).status_code == 303


def test_another_keys_signature_or_text_opens_nothing(site):
    """Neither another hotkey's signature, nor one's own over a text that was asked for another."""
    browser = Browser(site.app)
    mine, others = shown(browser), shown(browser, OTHER)
    fields = read(mine).forms[FORM]
    sent = [
        {**fields, "signature": sign(text_of(mine), OTHER)},
        {**fields, "signature": sign(text_of(others))},
        {**fields, "hotkey": OTHER.ss58_address, "signature": sign(text_of(mine), OTHER)},
        {**fields, "nonce": read(others).forms[FORM]["nonce"], "signature": sign(text_of(others))},
    ]

    assert [browser.send(FORM, one).status_code for one in sent] == [401] * 4


def test_a_signature_is_good_once_and_in_one_browser(site):
    """Whoever gets hold of it has nothing of it: not again, not elsewhere, not after five minutes."""
    browser, thief = Browser(site.app), Browser(site.app)
    page = shown(browser)
    fields = {**read(page).forms[FORM], "signature": sign(text_of(page))}
    stolen = {**fields, "form_token": read(shown(thief)).forms[FORM]["form_token"]}
    assert thief.send(FORM, stolen).status_code == 401
    assert browser.send(FORM, fields).status_code == 303
    again = browser.send(FORM, fields)
    assert (again.status_code, "was used" in read(again).text) == (401, True)

    late = shown(browser)
    site.clock.passes(300)
    answer = browser.submit(late, FORM, signature=sign(text_of(late)))
    assert (answer.status_code, "too old" in read(answer).text) == (401, True)
    assert text_of(answer) != text_of(late)


def test_a_text_for_another_site_opens_nothing_here(site):
    """A site that passes on our challenge under its own name gets a signature that is of no use."""
    browser = Browser(site.app)
    page = shown(browser)
    forged = text_of(page).replace(HERE, "http://evil.example")

    assert browser.submit(page, FORM, signature=sign(forged)).status_code == 401


def test_a_site_that_passes_requests_on_under_its_own_name_gets_no_text(site):
    """Were there one, it would name that site, and whoever compares it with the address of that page would sign."""
    evil, browser = Browser(site.app, "https://evil.example"), Browser(site.app)
    page = shown(browser)
    evil.cookies = dict(browser.cookies)
    fields = {
        **read(page).forms[FORM],
        "signature": sign(text_of(page).replace(HERE, "https://evil.example")),
    }
    sent = evil.send(FORM, fields)

    assert (shown(evil).status_code, sent.status_code) == (421, 421)
    assert "session" not in evil.cookies
    assert browser.send(FORM, fields).status_code == 401


@pytest.mark.parametrize("hotkey", ["5", "x" * 48, "5" * 48, MINER.ss58_address[:-1] + "1", "<b>"])
def test_what_is_no_hotkey_is_told_at_its_field(site, hotkey):
    """And no text is shown for it."""
    answer = Browser(site.app).get(FORM, params={"hotkey": hotkey})

    assert answer.status_code == 422
    assert read(answer).fault("hotkey") == "fault-hotkey"
    assert "<b>" not in answer.text


def test_a_weak_key_is_nobody(site):
    """A key that verifies any message opens no session."""
    weak = sp_core.ss58_encode(bytes(32), 42)

    assert Browser(site.app).get(FORM, params={"hotkey": weak}).status_code == 422


def test_signatures_are_not_guessed_and_share_the_count_of_wrong_keys(tmp_path):
    """After a few it is not looked from this address whether one holds; nor whether a key opens something."""
    with world(tmp_path, limits=replace(NO_LIMITS, failures=Rate(per_s=0.1, burst=3))) as market:
        browser = Browser(market.app)
        page = shown(browser)
        statuses = [browser.submit(page, FORM, signature="00" * 64).status_code for _ in range(3)]
        refused = browser.submit(page, FORM, signature=sign(text_of(page)))

        assert (statuses, refused.status_code) == ([401] * 3, 429)
        assert refused.headers["retry-after"] == "10"
        assert browser.sign_in(market.key()).status_code == 429
        market.clock.passes(10)
        assert enter(browser).status_code == 303


def test_sessions_of_ones_own_hotkeys_are_bounded_by_address(tmp_path):
    """Everybody can make hotkeys: they fill no table."""
    with world(tmp_path, limits=replace(NO_LIMITS, sign_ins=Rate(per_s=0.05, burst=2))) as market:
        browser = Browser(market.app)
        statuses = [enter(browser).status_code for _ in range(3)]
        assert statuses == [303, 303, 429]
        market.clock.passes(20)

        assert enter(browser).status_code == 303


def test_without_tls_no_signature_is_taken_from_another_computer(site):
    """Its session could be read on the way."""
    browser = Browser(site.rebuilt(origins=("http://market.example",)).app, "http://market.example")
    page = read(shown(browser))

    assert "without TLS" in page.text
    assert FORM not in page.forms


def test_an_operators_hotkey_operates(tmp_path):
    """By the same form."""
    with world(tmp_path, operators=frozenset({MINER.ss58_address})) as market:
        browser = Browser(market.app)
        enter(browser)

        assert read(browser.get("/")).links("/operator") == ["/operator"]


def test_who_signs_in_as_another_is_no_longer_who_it_was(site):
    """A browser is one of them at a time."""
    browser = signed_in(site)
    enter(browser)
    assert browser.get("/account").status_code == 303
    browser.sign_in(site.key())

    assert MINER.ss58_address[:6] not in read(browser.get("/")).text
