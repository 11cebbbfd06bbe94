"""The account: what a renter has and paid, and the keys that are made and revoked there."""

import pytest

from deployments.marketplace.market import DepositInfo
from storage.renter import Scope
from tasks.renting.money import granted
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import Browser, signed_in
from tests.deployments.marketplace.world import OTHER_KEY, SSH_KEY, world
from tests.tasks.renting.leases import USD


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A marketplace that takes deposits."""
    with world(tmp_path_factory.mktemp("account"), deposit=DepositInfo("5Deposit", "finney")) as made:
        yield made


def test_money_is_shown_as_the_api_tells_it(site):
    """Balance, where to put more, months, and the lines of one of them."""
    site.stores.money.post(granted("bob", 7 * USD, "g-1", site.clock.at, "<b>thanks</b>"))
    page = read(signed_in(site, "bob").get("/account?month=2026-08"))

    assert "balance, USD 107.00" in page.text
    assert "lasts nothing runs" in page.text
    assert "5Deposit" in page.text
    assert "memo" in page.text
    assert "2026-08 107.00 0.00 0.00 107.00" in page.text
    assert "grant - 2 107.00" in page.text
    assert page.links("/account?month=2026-08#ledger")


def test_a_month_without_lines_says_so(site):
    """Also one that is long ago; what is no month is refused."""
    browser = signed_in(site)

    assert "Nothing was moved in 2025-12" in read(browser.get("/account?month=2025-12")).text
    for month in ("2025-13", "0000-01", "9999-12"):
        assert browser.get(f"/account?month={month}").status_code == 404


def test_a_key_is_made_shown_once_and_revoked(site):
    """It opens what it may until then, and is on no page but the one that made it."""
    browser = signed_in(site)
    made = browser.submit(
        browser.get("/account"), "/account/keys", name="ci", scopes=["read", "money"], days="1"
    )
    (token,) = [text for text in read(made).texts if text.startswith("sn_")]
    client = site.client(token=token)

    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    assert client.get("/v1/me").json()["scopes"] == ["money", "read"]
    page = browser.get("/account")
    assert token not in page.text
    assert "ci" in read(page).text
    gone = browser.submit(page, f"/account/keys/{token[3:19]}/revoke")
    assert (gone.status_code, client.get("/v1/me").status_code) == (303, 401)
    assert f"{token[3:19]}: revoked" in read(browser.get("/account")).text.replace(" :", ":")


def test_a_form_that_is_sent_twice_makes_one_key(site):
    """A page that is loaded again, a press too many; the form of the new page makes another."""
    browser, fields = signed_in(site), {"name": "once", "scopes": "read"}
    page = browser.get("/account")
    made, again = (browser.submit(page, "/account/keys", **fields) for _ in range(2))
    known = [key.name for key in site.stores.renters.keys("alice")].count("once")
    anew = browser.submit(again, "/account/keys", **fields)

    assert (made.status_code, again.status_code, known, anew.status_code) == (201, 422, 1, 201)
    assert "sent before" in read(again).text
    assert not [text for text in read(again).texts if text.startswith("sn_")]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "", "scopes": "read"}, "name"),
        ({"name": "a\x01", "scopes": "read"}, "name"),
        ({"name": "x" * 201, "scopes": "read"}, "name"),
        ({"name": "a"}, "scopes"),
        ({"name": "a", "scopes": "root"}, "scopes"),
        ({"name": "a", "scopes": "read", "days": "0"}, "days"),
        ({"name": "a", "scopes": "read", "days": "-1"}, "days"),
        ({"name": "a", "scopes": "read", "days": "9" * 5_000}, "days"),
        ({"name": "a", "scopes": "read", "days": "१"}, "days"),
    ],
)
def test_what_does_not_fit_is_told_at_its_field(site, fields, field):
    """What was typed into the others stays, and nothing is made."""
    browser = signed_in(site)
    before = len(site.stores.renters.keys("alice"))
    answer = browser.submit(browser.get("/account"), "/account/keys", **fields)
    page = read(answer)

    assert answer.status_code == 422
    assert [found["id"] for found in page.all("span") if found.get("id", "").startswith("fault-")] == [
        f"fault-{field}"
    ]
    assert len(site.stores.renters.keys("alice")) == before


def test_ssh_keys_are_kept_and_forgotten(site):
    """What does not fit, or is there by another line, is told at its field."""
    browser = signed_in(site)

    def keep(name, line):
        answer = browser.submit(browser.get("/account"), "/account/ssh-keys", ssh_name=name, public_line=line)
        spans = read(answer).all("span") if answer.status_code == 422 else []
        return answer.status_code, [one["id"] for one in spans if one.get("id", "").startswith("fault-")]

    assert keep("laptop", SSH_KEY) == (303, [])
    assert keep("laptop", OTHER_KEY) == (422, ["fault-ssh_name"])
    assert keep("Laptop", SSH_KEY) == (422, ["fault-ssh_name"])
    assert keep("desk", "ssh-rsa x") == (422, ["fault-public_line"])
    page = browser.get("/account")
    assert "SHA256:" in read(page).text
    assert browser.submit(page, "/account/ssh-keys/laptop/forget").status_code == 303
    assert site.stores.ssh_keys.all("alice") == ()
    assert browser.submit(page, "/account/ssh-keys/laptop/forget").status_code == 404


def test_another_renters_key_is_not_there(site):
    """Neither shown nor revoked."""
    browser, other = signed_in(site), site.key("bob")
    key_id = other[3:19]
    from deployments.marketplace.pages.forms import token_of

    action = f"/account/keys/{key_id}/revoke"
    answer = browser.send(action, {"form_token": token_of(site.desk, browser.cookies["session"], action)})

    assert answer.status_code == 404
    assert key_id not in browser.get("/account").text
    assert site.client(token=other).get("/v1/me").status_code == 200


def test_names_of_keys_are_text(site):
    """Whatever a renter calls them."""
    browser = signed_in(site)
    made = browser.submit(
        browser.get("/account"), "/account/keys", name='"><script>alert(1)</script>', scopes="read"
    )

    assert "<script>alert" not in made.text


def test_a_stopped_renter_is_told_why(site):
    """At the top of the account."""
    site.stores.renters.stop("bob", site.clock.at, "unpaid <b>", site.clock.at)
    browser = signed_in(site, "bob", Scope.READ)

    assert "stopped this renter: unpaid <b>" in read(browser.get("/account")).text
    assert isinstance(browser, Browser)
