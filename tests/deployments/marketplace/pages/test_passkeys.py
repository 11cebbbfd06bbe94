"""Passkeys: kept by whoever is signed in, used to sign in without a name, and by nobody else."""

import json
from dataclasses import replace

import cbor2
import pytest
import sqlalchemy as sa

from deployments.marketplace.buckets import Rate
from storage.database import writing
from storage.errors import TooMany
from storage.renter import Scope
from storage.tables import api_keys, page_sessions, passkeys
from tests.deployments.marketplace.pages.authenticator import PRESENT, Authenticator, data, text
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import Browser
from tests.deployments.marketplace.world import NO_LIMITS, world

HERE = "http://localhost:8091"
ORIGINS = (
    HERE,
    "http://127.0.0.1:8091",
    "http://[::1]:8091",
    "https://market.example",
    "https://192.0.2.1",
)
KEEP, USE = "/account/passkeys", "/sign-in/passkey"


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A market of many addresses."""
    with world(tmp_path_factory.mktemp("passkeys"), origins=ORIGINS) as made:
        yield made


@pytest.fixture
def site(market):
    """The same, of which nobody has a key yet."""
    with writing(market.market.engine) as connection:
        for table in (page_sessions, passkeys, api_keys):
            connection.execute(sa.delete(table))
    return market


def browser_of(market, renter_id="alice", *scopes, base=HERE):
    """Signed in with a key."""
    browser = Browser(market.app, base)
    assert browser.sign_in(market.key(renter_id, *scopes)).status_code == 303
    return browser


def keep(browser, device, name="phone", change=lambda told: told, **how):
    """A passkey, from the account's page."""
    page = browser.get("/account")
    options = browser.get(f"{KEEP}/options").json()
    credential = change(device.create(options, **how))
    return browser.submit(page, KEEP, name=name, nonce=options["challenge"], credential=credential)


def use(browser, device, change=lambda told: told, then="", **how):
    """Sign in with it."""
    page = browser.get("/sign-in", params={"next": then} if then else {})
    options = browser.get(f"{USE}/options").json()
    credential = change(device.get(options, **how))
    return browser.submit(page, USE, nonce=options["challenge"], credential=credential)


def kept(market, renter_id="alice"):
    """What is known of a renter's."""
    return market.stores.passkeys.of_renter(renter_id)


@pytest.fixture
def device(site):
    """A device with a passkey of alice."""
    made = Authenticator(HERE)
    assert keep(browser_of(site), made).status_code == 303
    return made


def test_a_passkey_signs_in_without_a_name(site, device):
    """With all that the account may; where it was used is led back to, and both are seen on the account's page."""
    site.clock.passes(60)
    browser = Browser(site.app, HERE)
    answer = use(browser, device, then="/leases")
    page = read(browser.get("/account"))
    (known,) = kept(site)

    assert (answer.status_code, answer.headers["location"]) == (303, "/leases")
    assert "Account of alice" in page.text
    assert "phone (this browser)" in page.text
    assert (known.sign_count, known.last_used_at) == (1, site.clock.at)
    assert {KEEP, "/account/keys"} <= page.forms.keys()


def test_what_is_asked_of_the_authenticator(site):
    """A passkey that it finds by itself, with the user verified, of this site; no name that says anything elsewhere."""
    browser = browser_of(site)
    options = browser.get(f"{KEEP}/options").json()
    asked = browser.get(f"{USE}/options").json()

    assert options["rp"]["id"] == asked["rpId"] == "localhost"
    assert options["authenticatorSelection"] == {"residentKey": "required", "userVerification": "required"}
    assert options["attestation"] == "none"
    assert asked["userVerification"] == "required"
    assert "allowCredentials" not in asked
    assert b"alice" not in data(options["user"]["id"])
    assert len(data(options["challenge"])) >= 16


def test_a_device_is_asked_to_keep_none_twice(site, device):
    """It is told which ones it has; and the same again is refused."""
    browser = browser_of(site)
    options = browser.get(f"{KEEP}/options").json()

    assert options["excludeCredentials"] == [{"type": "public-key", "id": text(device.credential_id)}]
    assert keep(browser, device).status_code == 409
    assert len(kept(site)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "http://localhost:8092"},
        {"origin": "https://localhost:8091"},
        {"origin": "http://localhost:8091.evil.example"},
        {"type": "webauthn.get"},
        {"challenge": text(b"x" * 45)},
        {"crossOrigin": True},
        {"flags": PRESENT},
        {"flags": 0},
    ],
    ids=str,
)
def test_a_passkey_is_kept_only_as_it_was_asked_for(site, wrong):
    """Another origin, kind or challenge, another site's page, a user who was not verified: none is kept."""
    answer = keep(browser_of(site), Authenticator(HERE), **wrong)

    assert (answer.status_code, kept(site)) == (422, ())
    assert read(answer).all("p", role="alert")


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "http://localhost:8092"},
        {"origin": "http://127.0.0.1:8091"},
        {"type": "webauthn.create"},
        {"challenge": text(b"x" * 45)},
        {"crossOrigin": True},
        {"flags": PRESENT},
    ],
    ids=str,
)
def test_a_passkey_opens_only_what_it_was_asked_for(site, device, wrong):
    """The same of signing in."""
    browser = Browser(site.app, HERE)
    answer = use(browser, device, **wrong)

    assert answer.status_code == 401
    assert "session" not in browser.cookies
    assert "this passkey opens nothing" in read(answer).text.lower()


def test_a_passkey_of_another_site_name_is_nobodys(site):
    """One that was made under another name that leads here signs in there alone."""
    there = "https://market.example"
    device = Authenticator(there)
    assert keep(browser_of(site, base=there), device).status_code == 303
    assert use(Browser(site.app, there), device).status_code == 303
    device.origin, device.rp_id = HERE, "localhost"

    assert use(Browser(site.app, HERE), device).status_code == 401


def test_a_signature_has_to_hold(site, device):
    """Of another device that says the same name, or changed by a bit: nobody is signed in."""
    forger = Authenticator(HERE)
    forger.rp_id, forger.handle, forger.count = device.rp_id, device.handle, 5
    stranger = Authenticator(HERE, b"another credential")
    stranger.rp_id, stranger.handle = device.rp_id, device.handle

    def bent(told):
        fields = json.loads(told)
        fields["response"]["signature"] = "AA" + fields["response"]["signature"][2:]
        return json.dumps(fields)

    answers = [
        use(Browser(site.app, HERE), forger),
        use(Browser(site.app, HERE), stranger),
        use(Browser(site.app, HERE), device, bent),
    ]
    assert [answer.status_code for answer in answers] == [401] * 3


def test_a_passkey_is_one_accounts(site, device):
    """The name under which the device keeps it has to be the account's."""
    device.handle = b"x" * 32

    assert use(Browser(site.app, HERE), device).status_code == 401


def test_a_copied_passkey_is_seen_by_its_counter(site, device):
    """Whoever counts has to count on; those that do not count are taken as they are."""
    assert use(Browser(site.app, HERE), device).status_code == 303
    device.count -= 1
    assert use(Browser(site.app, HERE), device).status_code == 401

    still = Authenticator(HERE, b"counts nothing", counts=False)
    keep(browser_of(site), still)
    assert [use(Browser(site.app, HERE), still).status_code for _ in range(2)] == [303, 303]


def test_an_answer_is_good_once_and_in_one_browser(site, device):
    """Not again, not elsewhere, not after five minutes."""
    browser, thief = Browser(site.app, HERE), Browser(site.app, HERE)
    page, options = browser.get("/sign-in"), browser.get(f"{USE}/options").json()
    fields = {**read(page).forms[USE], "nonce": options["challenge"], "credential": device.get(options)}
    stolen = {**fields, "form_token": read(thief.get("/sign-in")).forms[USE]["form_token"]}

    assert thief.send(USE, stolen).status_code == 401
    assert [browser.send(USE, fields).status_code for _ in range(2)] == [303, 401]
    late = browser.get(f"{USE}/options").json()
    site.clock.passes(300)
    sent = {**fields, "nonce": late["challenge"], "credential": device.get(late)}
    assert browser.send(USE, sent).status_code == 401


def test_a_challenge_is_for_one_renter_and_one_purpose(site):
    """What was asked for alice is not kept for bob, nor does a challenge for keeping sign in."""
    alice, bob, device = browser_of(site), browser_of(site, "bob"), Authenticator(HERE)
    options = alice.get(f"{KEEP}/options").json()
    credential = device.create(options)
    sent = bob.submit(bob.get("/account"), KEEP, name="x", nonce=options["challenge"], credential=credential)

    assert (sent.status_code, kept(site), kept(site, "bob")) == (409, (), ())


@pytest.mark.parametrize(
    "told",
    [
        "",
        "x",
        "[]",
        "null",
        "{}",
        '{"rawId": 1}',
        '{"id": "AA", "rawId": "AA", "type": "public-key", "response": {}}',
        json.dumps({"rawId": "AA", "response": {"clientDataJSON": text(b"[]"), "userHandle": ""}}),
        "[" * 5_000,
        "9" * 20_000,
        "{" + "x" * 20_000,
    ],
)
def test_what_is_no_passkey_is_refused(site, device, told):
    """Whatever a stranger sends: a sentence, and nothing of it comes back."""
    assert use(Browser(site.app, HERE), device, lambda _: told).status_code == 401
    assert keep(browser_of(site), Authenticator(HERE, b"other"), change=lambda _: told).status_code == 422


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\x9b" + b"\xff" * 8,
        b"\xbb" + b"\xff" * 8,
        b"\x5b" + b"\x7f" + b"\xff" * 7,
        b"\x81" * 9_000,
        cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": b""}),
        cbor2.dumps({"fmt": "none", "attStmt": {"x5c": [b"x"]}, "authData": bytes(37)}),
        cbor2.dumps({"fmt": "tpm", "attStmt": {}, "authData": bytes(37)}),
        cbor2.dumps([1, 2]),
    ],
    ids=lambda one: one[:6].hex(),
)
def test_hostile_bytes_cost_nothing(site, hostile):
    """Lengths that are announced and never come, depth, other forms: refused."""

    def bent(told):
        fields = json.loads(told)
        fields["response"]["attestationObject"] = text(hostile)
        return json.dumps(fields)

    assert keep(browser_of(site), Authenticator(HERE), change=bent).status_code == 422
    assert kept(site) == ()


def test_passkeys_are_not_guessed(tmp_path):
    """Wrong answers are counted with wrong keys: after a few it is not looked from this address whether one is right."""
    with world(tmp_path, limits=replace(NO_LIMITS, failures=Rate(per_s=0.1, burst=3))) as market:
        device = Authenticator(HERE)
        keep(browser_of(market), device)
        wrong = Authenticator(HERE, b"wrong")
        wrong.rp_id = "localhost"
        statuses = [use(Browser(market.app, HERE), wrong).status_code for _ in range(3)]
        refused = use(Browser(market.app, HERE), device)

        assert (statuses, refused.status_code) == ([401] * 3, 429)
        assert refused.headers["retry-after"] == "10"
        market.clock.passes(10)
        assert use(Browser(market.app, HERE), device).status_code == 303


def test_what_is_no_passkey_uses_no_challenge_up(site, device):
    """Challenges that were taken are remembered: nobody fills that with rubbish."""
    browser, owner, other = Browser(site.app, HERE), browser_of(site), Authenticator(HERE, b"other")
    pages = browser.get("/sign-in"), owner.get("/account")
    asked, to_keep = browser.get(f"{USE}/options").json(), owner.get(f"{KEEP}/options").json()
    used = [
        browser.submit(pages[0], USE, nonce=asked["challenge"], credential=told)
        for told in ("{}", device.get(asked))
    ]
    made = [
        owner.submit(pages[1], KEEP, nonce=to_keep["challenge"], credential=told, name="x")
        for told in ("{}", other.create(to_keep))
    ]

    assert [answer.status_code for answer in used] == [401, 303]
    assert [answer.status_code for answer in made] == [422, 303]


def test_a_renter_keeps_and_uses_only_so_many_within_a_time(tmp_path):
    """Rubbish that it wants kept counts, too; other renters are not slowed down by it."""
    with world(tmp_path, limits=replace(NO_LIMITS, passkeys=Rate(per_s=0.1, burst=3))) as market:
        device, owner = Authenticator(HERE), browser_of(market)
        kept = [
            keep(owner, device, change=change).status_code for change in (lambda told: told, lambda _: "{}")
        ]
        used = [use(Browser(market.app, HERE), device) for _ in range(2)]
        more = keep(owner, Authenticator(HERE, b"more"))

        assert kept == [303, 422]
        assert [answer.status_code for answer in used] == [303, 429]
        assert "too many" in read(used[1]).text.lower()
        assert (more.status_code, more.headers["retry-after"]) == (429, "10")
        assert keep(browser_of(market, "bob"), Authenticator(HERE, b"of bob")).status_code == 303
        market.clock.passes(10)
        assert use(Browser(market.app, HERE), device).status_code == 303


def test_a_forgotten_passkey_opens_nothing_and_signs_its_browsers_out(site, device):
    """At once; another renter can't do it."""
    browser, own, bob = Browser(site.app, HERE), browser_of(site), browser_of(site, "bob")
    use(browser, device)
    action = f"{KEEP}/{kept(site)[0].passkey_id}/forget"
    fields = read(own.get("/account")).forms[action]
    assert bob.send(action, fields).status_code == 403
    assert own.send(action, fields).status_code == 303

    assert browser.get("/account").status_code == 303
    assert use(Browser(site.app, HERE), device).status_code == 401
    assert own.send(action, fields).status_code == 404


def test_only_who_rules_the_account_keeps_one(site):
    """A key that may only read gets no way to everything; no more than twenty are kept."""
    reader = browser_of(site, "alice", Scope.READ)
    assert KEEP not in read(reader.get("/account")).forms
    assert reader.get(f"{KEEP}/options").status_code == 403

    owner = browser_of(site)
    for number in range(20):
        assert keep(owner, Authenticator(HERE, b"%02d" % number)).status_code == 303
    assert keep(owner, Authenticator(HERE, b"one more")).status_code == 409
    with pytest.raises(TooMany):
        site.stores.passkeys.add(replace(kept(site)[0], passkey_id="p"))


def test_names_are_text(site):
    """Bounded and escaped."""
    keep(browser_of(site), Authenticator(HERE), name="<b>" + "x" * 200)

    page = browser_of(site).get("/account")
    assert "<b>" not in page.text
    assert kept(site)[0].name == "<b>" + "x" * 57


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("http://127.0.0.1:8091", "open http://localhost:8091/"),
        ("http://[::1]:8091", "open http://localhost:8091/"),
        ("https://192.0.2.1", "Passkeys need https"),
    ],
)
def test_an_address_of_numbers_has_no_passkeys(site, base, said):
    """Browsers allow none there: the page says where there are some; on one's own computer by its name."""
    browser = browser_of(site, base=base)
    page = read(browser.get("/account"))

    assert KEEP not in page.forms
    assert said in page.text or base.startswith("https")
    assert browser.get(f"{KEEP}/options").status_code == 409
    assert USE not in read(Browser(site.app, base).get("/sign-in")).forms
