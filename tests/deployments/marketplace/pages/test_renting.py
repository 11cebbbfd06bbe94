"""The form that rents: the price before the button, what does not fit at its field, one lease however often it is sent."""

import pytest

from storage.rental import RentalState
from storage.renter import Scope
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import Browser, signed_in
from tests.deployments.marketplace.world import OTHER_KEY, SSH_KEY, world
from tests.tasks.renting.leases import USD, offer

FORM = "/rent?machine=5Miner/m-000"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A marketplace of machines with two cards at half a dollar each; nothing of it is held by these tests."""
    with world(tmp_path_factory.mktemp("renting"), usd=1_000) as made:
        made.client().post("/v1/ssh-keys", {"name": "laptop", "public_line": SSH_KEY})
        yield made


def newest(market, renter_id="alice"):
    """The lease that was asked for last."""
    return market.stores.rentals.of_renter(renter_id)[0]


def test_a_machine_is_rented_as_the_form_says(site):
    """Everything that it has comes to be in the lease, the environment sealed; the browser is led to it."""
    browser = signed_in(site)
    answer = browser.submit(
        browser.get(FORM),
        "/rent",
        image="ubuntu:24.04",
        template="",
        ports="8888, 9000/udp",
        environment="A=b=c\n\nTOKEN=secret",
        volumes="data:/data",
        ssh_keys=["laptop"],
        public_keys=OTHER_KEY,
        count="2",
        ttl_h="1.5",
        cap="4.25",
    )
    lease = newest(site)

    assert (answer.status_code, answer.headers["location"]) == (303, f"/leases/{lease.lease_id}")
    assert lease.state is RentalState.REQUESTED
    assert (lease.wish.executor_key, lease.wish.card_count, lease.wish.max_micro_usd_per_hour) == (
        "5Miner/m-000",
        2,
        USD,
    )
    assert [(port.inside, port.protocol) for port in lease.pod.ports] == [(8888, "tcp"), (9000, "udp")]
    assert [(mount.volume, mount.at) for mount in lease.pod.mounts] == [("data", "/data")]
    assert lease.pod.environment == ("A", "TOKEN")
    assert site.market.sealer.open(lease.lease_id, lease.sealed)["environment"] == {
        "A": "b=c",
        "TOKEN": "secret",
    }
    assert set(lease.pod.public_keys) == {SSH_KEY, OTHER_KEY}
    assert (lease.terms.ttl_s, lease.terms.cap_micro_usd) == (5_400, 4_250_000)


def test_a_form_that_is_sent_twice_is_one_lease(site):
    """A press too many, or a page that is loaded again; another form is another lease."""
    browser = signed_in(site, "bob")
    page = browser.get(FORM)
    sent = [browser.submit(page, "/rent", image="a:1", template="") for _ in range(2)]
    changed = browser.submit(page, "/rent", image="b:1", template="")
    again = browser.submit(changed, "/rent", image="b:1", template="")

    assert sent[0].headers["location"] == sent[1].headers["location"]
    assert changed.status_code == 422
    assert "used for another request" in read(changed).text
    assert again.status_code == 303
    assert len(site.stores.rentals.of_renter("bob")) == 2


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "1.00 USD/h, without a time limit"),
        ("count=1&ttl_h=10", "0.50 USD/h, 5.00 USD in 10 h"),
        ("count=2&ttl_h=0.5&cap=3", "1.00 USD/h, 0.50 USD in 30 min, stopped before it costs 3.00 USD"),
        ("count=2&mode=spot&bid=1&ttl_h=2", "0.30 USD/h, 0.60 USD in 2 h"),
        ("count=2&mode=spot&bid=0.1", "0.30 USD/h, without a time limit"),
        ("count=2&mode=spot", "No price: bid is"),
        ("count=2&mode=reserved&hours=100", "0.95 USD/h, 95.00 USD for 100 hours, paid ahead"),
        ("count=2&mode=reserved", "No price: hours is"),
        ("count=3", "2 of its cards are free now"),
    ],
)
def test_the_price_is_told_by_the_rule_that_charges(site, query, told):
    """An hour, and all of it where it has an end; and why it can't be had."""
    answer = signed_in(site).get(f"/rent/price?machine=5Miner/m-000&{query}")

    assert told in read(answer).text.replace(" ,", ",")


def test_nobody_pays_more_than_what_was_shown(tmp_path):
    """A price that has risen meanwhile is shown first; then it is the most that the lease may cost."""
    with world(tmp_path, machines=0) as market:
        market.machines.append(offer("5Miner/m-000"))
        browser = signed_in(market)
        page = browser.get(FORM)
        market.machines[0] = offer("5Miner/m-000", micro_usd_per_card_hour=USD)
        market.clock.passes(3)
        refused = browser.submit(page, "/rent", image="a:1", template="")

        assert refused.status_code == 422
        assert "costs more than what was shown" in read(refused).text
        assert market.stores.rentals.of_renter("alice") == ()
        assert browser.submit(refused, "/rent", image="a:1", template="").status_code == 303
        assert newest(market).wish.max_micro_usd_per_hour == 2 * USD


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"image": ""}, "image"),
        ({"image": "UPPER"}, "image"),
        ({"template": "none-such"}, "template"),
        ({"ports": "ssh"}, "ports"),
        ({"ports": "99999"}, "ports"),
        ({"ports": "80 80"}, "ports"),
        ({"environment": "A"}, "environment"),
        ({"environment": "1A=b"}, "environment"),
        ({"environment": "NVIDIA_VISIBLE_DEVICES=all"}, "environment"),
        ({"volumes": "data"}, "volumes"),
        ({"volumes": "Data:/data"}, "volumes"),
        ({"volumes": "data:/proc/x"}, "volumes"),
        ({"public_keys": "ssh-rsa x"}, "public_keys"),
        ({"ssh_keys": "none-such"}, "ssh_keys"),
        ({"count": "-1"}, "count"),
        ({"count": "1e3"}, "count"),
        ({"ttl_h": "99999999"}, "ttl_h"),
        ({"cap": "x"}, "cap"),
        ({"mode": "free"}, "mode"),
        ({"mode": "reserved", "seen": "0"}, "hours"),
        ({"mode": "spot", "seen": "0"}, "bid"),
    ],
)
def test_what_does_not_fit_is_told_at_its_field(site, fields, field):
    """Nothing is rented, and what was typed stays."""
    browser, before = signed_in(site), len(site.stores.rentals.of_renter("alice"))
    answer = browser.submit(
        browser.get(FORM), "/rent", **{"image": "a:1", "template": "", "cap": "7.5", "ssh_keys": [], **fields}
    )
    page = read(answer)

    assert answer.status_code == 422
    assert f"fault-{field}" in [found.get("id") for found in page.all("span")]
    assert page.all("input", name="cap")[0]["value"] == fields.get("cap", "7.5")
    assert len(site.stores.rentals.of_renter("alice")) == before


def test_too_little_money_is_told_before_anything_begins(tmp_path):
    """Above the form, with what to do."""
    with world(tmp_path, usd=0) as market:
        browser = signed_in(market)
        answer = browser.submit(browser.get(FORM), "/rent", image="a:1", template="")

    assert answer.status_code == 422
    assert "are needed to begin" in read(answer).text


def test_the_price_can_be_looked_at_without_scripts(site):
    """A button shows it for what is in the form, and rents nothing."""
    browser, before = signed_in(site), len(site.stores.rentals.of_renter("alice"))
    answer = browser.submit(
        browser.get(FORM), "/rent", do="price", count="1", ttl_h="4", environment="A=secret"
    )

    assert answer.status_code == 200
    assert "0.50 USD/h, 2.00 USD in 4 h" in read(answer).text.replace(" ,", ",")
    assert len(site.stores.rentals.of_renter("alice")) == before


def test_who_may_not_rent_is_told(site):
    """And who is not signed in signs in first, and comes back."""
    stranger = Browser(site.app)
    sent = stranger.get(FORM)
    assert sent.status_code == 303
    assert stranger.sign_in(site.key(), sent.headers["location"]).headers["location"] == FORM

    assert signed_in(site, "alice", Scope.READ).get(FORM).status_code == 403
    assert signed_in(site).get("/rent?machine=5Miner/none").status_code == 404
    assert signed_in(site).get("/rent").status_code == 404


def test_the_form_holds_hostile_text_as_text(site):
    """Whatever is typed in comes back as it was, and as nothing else."""
    hostile = '</textarea><script>alert(1)</script>"'
    browser = signed_in(site)
    names = ("image", "ports", "environment", "volumes", "public_keys", "count", "ttl_h", "cap", "template")
    answer = browser.submit(browser.get(FORM), "/rent", **dict.fromkeys(names, hostile))

    assert answer.status_code == 422
    assert "<script>alert" not in answer.text
    assert hostile in "".join(read(answer).texts)
