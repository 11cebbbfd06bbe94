"""Who a browser is: a renter by its key, a miner or an operator by a hotkey, and none is ever another."""

import pytest

from deployments.marketplace.pages.visitors import Keyholder, mines, operates
from deployments.marketplace.problems import Refused
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import holding, signed_in
from tests.deployments.marketplace.world import world


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A marketplace whose one operator has the hotkey 5Boss."""
    with world(tmp_path_factory.mktemp("visitors"), operators=frozenset({"5Boss"})) as made:
        yield made


def test_a_hotkey_is_no_renter(site):
    """It may nothing that a renter may: those pages ask it to sign in, and forms of theirs are not taken."""
    browser = holding(site)
    asked = [browser.get(path) for path in ("/account", "/leases", "/rent?machine=5Miner/m-000")]
    sent = browser.send("/account/keys", {"name": "x", "scopes": "admin"})

    assert [answer.status_code for answer in (*asked, sent)] == [303] * 4
    assert all(answer.headers["location"].startswith("/sign-in?next=") for answer in asked)


def test_a_renter_is_no_miner(site):
    """A key is no signature: who has one is nobody on a miner's page, and is led to the form for hotkeys."""
    browser = signed_in(site)
    browser.get("/")

    with pytest.raises(Refused) as caught:
        mines(None)
    assert caught.value.code == "NO_HOTKEY"


def test_only_an_operators_hotkey_operates():
    """Anybody's hotkey is a miner's; the operator's page is for those that the settings name."""
    miner = Keyholder("5Miner", is_operator=False, secret="")
    boss = Keyholder("5Boss", is_operator=True, secret="")

    assert (mines(miner), operates(boss)) == (miner, boss)
    with pytest.raises(Refused, match="5Miner is no operator's") as caught:
        operates(miner)
    assert caught.value.status == 403


@pytest.mark.parametrize(("hotkey", "operator"), [("5Miner", []), ("5Boss", ["/operator"]), (None, [])])
def test_the_operators_page_is_linked_for_operators(site, hotkey, operator):
    """The miner's for everybody: it leads to the form."""
    page = read((holding(site, hotkey) if hotkey else signed_in(site)).get("/"))

    assert page.links("/miner") == ["/miner"]
    assert page.links("/operator") == operator
    assert hotkey is None or hotkey in page.text


def test_a_hotkey_signs_out_and_ends_by_itself(site):
    """As a renter does: at once by the button, and after twelve hours."""
    browser = holding(site, "5Out")
    kept = dict(browser.cookies)
    assert browser.submit(browser.get("/"), "/sign-out").status_code == 303
    assert "session" not in browser.cookies
    browser.cookies = kept
    assert "5Out" not in read(browser.get("/")).text

    late = holding(site, "5Late")
    site.clock.passes(12 * 3_600)
    assert "5Late" not in read(late.get("/")).text


def test_an_operator_that_is_named_no_more_is_none_at_once(tmp_path):
    """Its session is a miner's from then on."""
    with world(tmp_path, operators=frozenset({"5Boss"})) as market:
        browser = holding(market, "5Boss")
        assert read(browser.get("/")).links("/operator")
        browser.app = market.rebuilt(operators=frozenset()).app

        assert read(browser.get("/")).links("/operator") == []
