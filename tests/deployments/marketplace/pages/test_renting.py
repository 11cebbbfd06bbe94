"""The form that rents: the price before the button, what does not fit at its field, one lease however often it is sent."""

from datetime import timedelta

import pytest

from storage.rental import RentalState
from storage.renter import Scope
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import Browser, signed_in
from tests.deployments.marketplace.world import OTHER_KEY, SSH_KEY, world
from tests.tasks.renting.leases import NOON, USD, offer

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


def test_a_bound_is_told_as_people_write_numbers(site):
    """A million, and no 1e+06."""
    browser = signed_in(site)
    page = browser.submit(browser.get(FORM), "/rent", bid="much", mode="spot")

    assert "a number from 0 to 1,000,000 is expected" in read(page).text


def test_a_link_fills_in_which_machine_and_for_how_long_alone(site):
    """Neither a key that lets its maker in, nor what runs, nor the name under which the form is sent once."""
    browser = signed_in(site)
    more = {"template": "", "count": "2", "ttl_h": "7", "public_keys": OTHER_KEY, "image": "evil:1"}
    more |= {"environment": "A=planted", "entrypoint": "/planted", "idempotency_key": "planted"}
    page = browser.get(FORM, params={"machine": "5Miner/m-000", **more})

    assert [read(page).all("input", name=name)[0]["value"] for name in ("count", "ttl_h")] == ["2", "7"]
    assert not any(text in page.text for text in ("planted", "evil:1", OTHER_KEY))


def test_everything_that_the_api_takes_is_in_the_form(site):
    """Command, limits of the container and of its time, a login that is sealed and never shown."""
    browser = signed_in(site)
    answer = browser.submit(
        browser.get(FORM),
        "/rent",
        image="me/private:1",
        template="",
        entrypoint="/bin/sh",
        words="-c 'echo \"$HOME\"; sleep 9'",
        shm_gib="1.5",
        memory_gib="8",
        cpus="2.5",
        runtime="runc",
        registry_user="me",
        registry_password=" s3cret ",
        registry_server="r.example:5000",
        volumes="keep:/keep\nscratch:/scratch:wiped",
        idle_percent="5",
        idle_min="30",
        until="2026-08-02T12:00",
    )
    lease = site.stores.rentals.get(answer.headers["location"].rpartition("/")[2])
    pod, terms = lease.pod, lease.terms

    assert (pod.entrypoint, pod.words) == ("/bin/sh", ("-c", 'echo "$HOME"; sleep 9'))
    assert (pod.shm_bytes, pod.memory_bytes, pod.cpus, pod.runtime) == (3 << 29, 8 << 30, 2.5, "runc")
    assert [(mount.volume, mount.is_kept) for mount in pod.mounts] == [("keep", True), ("scratch", False)]
    assert site.market.sealer.open(lease.lease_id, lease.sealed)["registry"] == {
        "user": "me",
        "password": " s3cret ",
        "server": "r.example:5000",
    }
    assert (terms.idle_below_percent, terms.idle_for_s) == (5.0, 1_800)
    assert lease.ends_by == NOON + timedelta(days=1)


@pytest.mark.parametrize("fields", [{"image": "UPPER"}, {"do": "price"}])
def test_a_password_is_never_shown_again(site, fields):
    """Neither refused nor looked at; that it has to be typed again is told."""
    browser = signed_in(site)
    form = {"template": "", "image": "a:1", "registry_user": "me", "registry_password": "s3cret", **fields}
    answer = browser.submit(browser.get(FORM), "/rent", **form)
    named = browser.get(f"{FORM}&registry_password=s3cret")

    assert "s3cret" not in answer.text + named.text
    assert "type it once more" in read(answer).text


@pytest.fixture
def various(tmp_path):
    """Machines of two models and prices, one of them held."""
    with world(tmp_path, machines=0, usd=1_000) as made:
        made.machines += [
            offer("5Miner/cheap", micro_usd_per_card_hour=USD // 2),
            offer("5Miner/far", micro_usd_per_card_hour=USD, region="us"),
            offer("5Miner/big", micro_usd_per_card_hour=2 * USD, model="H100", vram_gib=80.0),
            offer("5Miner/held", micro_usd_per_card_hour=USD, model="A100"),
        ]
        holder = made.client("bob").post(
            "/v1/leases",
            {"pod": {"image": "a:1"}, "wish": {"executor_key": "5Miner/held"}},
            key="k",
        )
        made.hand_over(holder.json()["lease_id"])
        made.clock.passes(3)
        yield made


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("count=2&ttl_h=2", "at most 4.00 USD/h, 8.00 USD in 2 h"),
        (
            "count=2&ttl_h=2",
            "Tried first: 2 \N{MULTIPLICATION SIGN} L4 of 5Miner/cheap for 1.00 USD/h, 2.00 USD in 2 h",
        ),
        ("count=2&ttl_h=2", "3 machines fit now, for 1.00 to 4.00 USD/h"),
        ("count=1&model=H100", "2.00 USD/h, without a time limit"),
        ("count=1&region=us&until=2026-08-01T18:00:03", "1.00 USD/h, 6.00 USD in 6 h"),
        ("count=1&region=us&until=2026-08-01T18:00:03&ttl_h=1", "1.00 USD/h, 1.00 USD in 1 h"),
        ("count=1&max_usd_per_hour=1.2", "at most 1.20 USD/h"),
        ("count=2&mode=reserved&hours=100&model=H100", "3.80 USD/h, 380.00 USD for 100 hours, paid ahead"),
        ("count=1&model=A100", "No price: 1 machine fits, but too few cards are free now"),
        ("count=1&max_usd_per_hour=0.1", "No price: 3 machines fit, but the cheapest costs 0.50 USD an hour"),
        ("count=1&mode=spot&bid=0.01", "but the cheapest costs 0.15 USD an hour"),
        ("model=B300", "No price: none of the 4 machines on offer is like that"),
        ("mode=spot", "No price: bid is"),
    ],
)
def test_the_price_of_any_machine_that_fits(various, query, told):
    """What it may cost at most, what is tried first, and from where to where those that fit go; or what stands in the way."""
    answer = signed_in(various).get(f"/rent/price?{query}")

    assert told in read(answer).text.replace(" ,", ",")


def test_any_machine_that_fits_is_rented(various):
    """The wish names no machine, and costs no more than was shown."""
    browser = signed_in(various)
    page = browser.get("/rent?model=L4&min_vram_gib=16&count=1&sort=price")
    answer = browser.submit(
        page,
        "/rent",
        template="",
        image="a:1",
        model="L4",
        min_vram_gib="16",
        min_performance="0.5",
        min_reliability="0.9",
        region="",
        count="1",
        ttl_h="2",
    )
    wish = newest(various).wish

    assert answer.status_code == 303
    assert (wish.executor_key, wish.model, wish.card_count, wish.min_vram_gib) == ("", "L4", 1, 16.0)
    assert (wish.min_performance, wish.min_reliability) == (0.5, 0.9)
    assert wish.max_micro_usd_per_hour == USD


def test_where_nothing_fits_nothing_is_rented(various):
    """What stands in the way is told; a price that was not shown is shown first."""
    browser = signed_in(various)
    page = browser.get("/rent?model=L4&region=us")
    none = browser.submit(page, "/rent", template="", image="a:1", model="A100", count="2")
    dearer = browser.submit(page, "/rent", template="", image="a:1", model="H100", count="2")
    unread = browser.submit(page, "/rent", template="", image="a:1", min_vram_gib="much")

    assert "too few cards are free now" in read(none).text
    assert "costs more than what was shown" in read(dearer).text
    assert read(unread).fault("min_vram_gib") == "fault-min_vram_gib"
    assert various.stores.rentals.of_renter("alice") == ()


def test_a_form_that_is_sent_twice_is_one_lease(site):
    """A press too many, or a page that is loaded again; another form is another lease."""
    browser = signed_in(site, "bob")
    page = browser.get(FORM)
    sent = [browser.submit(page, "/rent", image="a:1", template="") for _ in range(2)]
    changed = browser.submit(page, "/rent", image="b:1", template="")
    again = browser.submit(changed, "/rent", image="b:1", template="")

    assert sent[0].headers["location"] == sent[1].headers["location"]
    assert changed.status_code == 422
    assert "sent before with something else in it" in read(changed).text
    assert again.status_code == 303
    assert len(site.stores.rentals.of_renter("bob")) == 2


def test_a_form_that_has_lost_its_name_rents_nothing(site):
    """By the rule of the API's Idempotency-Key."""
    browser, before = signed_in(site, "bob"), site.stores.rentals.of_renter("bob")
    answer = browser.submit(browser.get(FORM), "/rent", image="c:1", template="", idempotency_key="a\0b")

    assert answer.status_code == 422
    assert "lost its name" in read(answer).text
    assert site.stores.rentals.of_renter("bob") == before


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
        ({"words": "sleep 'x"}, "words"),
        ({"words": "a " * 300}, "words"),
        ({"entrypoint": "a\0"}, "entrypoint"),
        ({"shm_gib": "0.0001"}, "shm_gib"),
        ({"memory_gib": "much"}, "memory_gib"),
        ({"cpus": "5000"}, "cpus"),
        ({"runtime": "crun"}, "runtime"),
        ({"registry_user": "me"}, "registry_password"),
        ({"registry_password": "secret"}, "registry_user"),
        ({"registry_user": "a:b", "registry_password": "x"}, "registry_user"),
        ({"registry_user": "a", "registry_password": "x", "registry_server": "a b"}, "registry_server"),
        ({"idle_percent": "5"}, "idle_min"),
        ({"idle_min": "30"}, "idle_percent"),
        ({"idle_percent": "101", "idle_min": "30"}, "idle_percent"),
        ({"until": "soon"}, "until"),
        ({"until": "2026-02-30T12:00"}, "until"),
        ({"until": "2026-08-01T11:59"}, "until"),
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


@pytest.mark.parametrize("form", [FORM, "/rent"])
def test_the_form_holds_hostile_text_as_text(site, form):
    """Whatever is typed in comes back as it was, and as nothing else."""
    hostile = '</textarea><script>alert(1)</script>"'
    browser = signed_in(site)
    names = ("entrypoint", "words", "registry_user", "until", "model", "region", "shm_gib")
    names += ("image", "ports", "environment", "volumes", "public_keys", "count", "ttl_h", "cap", "template")
    answer = browser.submit(browser.get(form), "/rent", **dict.fromkeys(names, hostile))

    assert answer.status_code == 422
    assert "<script>alert" not in answer.text
    assert hostile in "".join(read(answer).texts)
