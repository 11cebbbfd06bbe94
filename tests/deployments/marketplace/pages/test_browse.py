"""The first page: machines found by a form that can be kept as a bookmark, for everybody who comes."""

from dataclasses import replace

import pytest

from deployments.marketplace.buckets import Rate
from tests.deployments.marketplace.pages.reading import read, rows
from tests.deployments.marketplace.world import NO_LIMITS, world
from tests.tasks.renting.leases import USD, offer

HOSTILE = '"><script>alert(1)</script>\u202e\x00'


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    """Three machines that differ in everything; tests only look at them."""
    with world(tmp_path_factory.mktemp("varied"), machines=0) as made:
        made.machines += [
            offer(
                "5Miner/cheap", cards=1, micro_usd_per_card_hour=USD // 10, performance=0.5, reliability=0.7
            ),
            offer("5Miner/good", cards=4, performance=1.0, reliability=0.9, region="eu"),
            offer(
                "5Miner/best", model="H200", vram_gib=141.0, micro_usd_per_card_hour=2 * USD, reliability=1.0
            ),
        ]
        made.machines.append(
            offer(
                "5Miner/slow",
                cards=16,
                micro_usd_per_card_hour=3 * USD,
                model="L4",
                performance=0.1,
                reliability=0.1,
            )
        )
        yield made


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["best", "cheap", "good", "slow"]),  # 4,800 GB/s for 2 USD, 150 for 0.1, 300 for 0.5
        ("sort=price", ["cheap", "good", "best", "slow"]),
        ("sort=reliability", ["best", "good", "cheap", "slow"]),
        ("model=H200&count=&region=", ["best"]),
        ("count=2", ["best", "good", "slow"]),
        ("count=2&max_usd_per_hour=1", ["good"]),
        ("min_vram_gib=48", ["best"]),
        ("min_reliability=0.9", ["best", "good"]),
        ("region=eu", ["good"]),
        (
            "mode=spot&count=2&max_usd_per_hour=0.3",
            ["good"],
        ),  # three tenths of the price while nothing is leased
        ("mode=reserved&hours=2160&count=2&max_usd_per_hour=0.7", ["good"]),  # 30 % less
        ("mode=reserved&count=2&max_usd_per_hour=0.94", []),
        ("mode=reserved&count=2&max_usd_per_hour=0.96", ["good"]),  # of 24 hours: 5 % less
    ],
)
def test_the_form_finds_machines(varied, query, expected):
    """Without a key, at the price of the mode that was chosen; a field that is empty asks for nothing."""
    found = rows(varied.stranger().get(f"/?{query}"))

    assert [name.removeprefix("5Miner/") for name in found] == expected


def test_the_form_stands_as_it_was_asked(varied):
    """What is in the address is in the fields."""
    page = read(varied.stranger().get("/?model=H200&count=2&max_usd_per_hour=5&mode=spot&sort=price"))

    selected = [found.get("value") for found in page.all("option") if "selected" in found]
    assert {"H200", "spot", "price"} <= set(selected)
    assert [found["value"] for found in page.all("input")] == ["2", "", "5", ""]


@pytest.mark.parametrize("name", ["count", "min_vram_gib", "mode", "hours", "page", "colour"])
def test_a_field_that_does_not_fit_is_told_at_its_place(varied, name):
    """And left out; the others count."""
    answer = varied.stranger().get(f"/?{name}=x&region=eu")
    page = read(answer)

    assert answer.status_code == 422
    assert rows(answer) == ["5Miner/good"]
    assert page.all("p", role="alert")
    if name in ("count", "mode"):
        assert [
            found["aria-describedby"]
            for found in page.all("input") + page.all("select")
            if "aria-invalid" in found
        ] == [f"fault-{name}"]


def test_a_point_of_the_picture_leads_to_its_machine(varied):
    """Those of the list are in the picture too; the best ones are reached by keyboard."""
    page = read(varied.stranger().get("/"))
    points = page.all("a")[2:]
    drawn = [found for found in points if "id" not in found and found["href"].startswith("/machines/")]

    assert {found["href"] for found in drawn} == {
        f"/machines/5Miner/{name}" for name in ("cheap", "good", "best", "slow")
    }
    assert [found["href"] for found in drawn if found.get("tabindex") == "-1"] == ["/machines/5Miner/slow"]


def test_a_machine_has_a_page(varied):
    """With what was proved of it and its price in each mode."""
    page = read(varied.stranger().get("/machines/5Miner/best"))

    assert "2 \N{MULTIPLICATION SIGN} H200" in page.text
    assert "141 GiB" in page.text
    assert "on demand 2.00 4.00" in page.text
    assert "spot, now 0.60 1.20" in page.text
    assert "reserved, from 24 h 1.90 3.80" in page.text


@pytest.mark.parametrize(
    "path", ["/machines/5Miner/none", "/machines/%3Cb%3E", "/static/x.css", "/machines/%0a"]
)
def test_what_is_not_there_is_a_page_as_well(varied, path):
    """That says what to do."""
    answer = varied.stranger().get(path)

    assert answer.status_code == 404
    assert read(answer).all("p", role="alert")


def test_an_open_page_asks_for_what_has_changed(market):
    """With the address that stands in it: nothing while nothing has, and the list anew when a machine was leased."""
    client = market.stranger()
    (region,) = read(client.get("/?sort=price&model=L4")).all("div", id="offers")
    known = {"If-None-Match": region["data-etag"]}
    again = client.get(region["data-live"], headers=known)
    market.active(market.client(), wish={"card_count": 2})
    market.clock.passes(3)
    changed = client.get(region["data-live"], headers=known)

    assert (again.status_code, again.content) == (304, b"")
    assert rows(changed) == ["5Miner/m-001", "5Miner/m-002"]
    assert changed.text.lstrip().startswith("<p")


def test_names_of_miners_are_text_and_nothing_else(tmp_path):
    """Whatever a machine calls itself and its cards: nothing of it becomes an element, an attribute or a direction of writing."""
    with world(tmp_path, machines=0) as market:
        market.machines.append(offer(f"5Miner/{HOSTILE}", model=HOSTILE * 200, region=HOSTILE))
        for path in ("/", "/offers", f"/machines/5Miner/{'%22%3E%3Cscript%3Ealert(1)%3C/script%3E'}"):
            answer = market.stranger().get(path)
            assert "<script>alert" not in answer.text
            assert "\u202e" not in read(answer).text
            assert len(answer.text) < 40_000


def test_a_long_list_has_pages(tmp_path):
    """Fifty machines each, all of them once, and every page keeps the question."""
    with world(tmp_path, machines=120) as market:
        client, found, address = market.stranger(), [], "/?model=L4"
        while address:
            answer = client.get(address)
            found += rows(answer)
            more = [one["href"] for one in read(answer).all("a", rel="next")]
            address = more[0] if more else ""
            assert not more or "model=L4" in address

    assert len(found) == len(set(found)) == 120


def test_a_thousand_machines_are_a_small_page(tmp_path):
    """All of them in the picture: less than 100 KiB are sent, the files that it loads included."""
    with world(tmp_path, machines=0) as market:
        market.machines += [
            offer(
                f"5{n:047x}/box-{n}", micro_usd_per_card_hour=USD // 2 + 997 * n, performance=0.7 + n / 3_000
            )
            for n in range(1_000)
        ]
        client, packed = market.stranger(), {"Accept-Encoding": "gzip"}
        answer = client.get("/", headers=packed)
        page = read(answer)
        loaded = [found["href"] for found in page.all("link")] + [
            found["src"] for found in page.all("script")
        ]
        sizes = [int(client.get(one, headers=packed).headers["content-length"]) for one in loaded]

    assert len(page.links("/machines/")) == 1_050
    assert len(loaded) == 3
    assert int(answer.headers["content-length"]) + sum(sizes) < 100 << 10


def test_without_machines_it_says_so(tmp_path):
    """Before the first epoch, or when nothing fits."""
    with world(tmp_path, machines=0) as market:
        assert "No machine fits" in read(market.stranger().get("/")).text


def test_one_address_looks_as_often_as_it_may(tmp_path):
    """Pages without a key are made for an address so often, then it is told to wait; files that they load are not counted."""
    limits = replace(NO_LIMITS, per_visitor=Rate(per_s=1, burst=2))
    with world(tmp_path, limits=limits) as market:
        client = market.stranger()
        statuses = [client.get(path).status_code for path in ("/", "/offers", "/", "/machines/5Miner/m-000")]

        assert statuses == [200, 200, 429, 429]
        assert client.get("/static/none").status_code == 404
        market.clock.passes(1)
        assert client.get("/").status_code == 200
