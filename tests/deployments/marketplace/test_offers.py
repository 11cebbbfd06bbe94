"""Machines as they are offered: filtered, sorted, in pages, and quick."""

from dataclasses import replace

import pytest

from deployments.marketplace import catalogue
from tests.deployments.marketplace.world import world
from tests.tasks.renting.leases import USD, offer


def names(answer):
    """The machines of a page."""
    assert answer.status_code == 200, answer.text
    return [item["executor_key"] for item in answer.json()["items"]]


@pytest.fixture
def varied(tmp_path):
    """Three machines that differ in everything."""
    with world(tmp_path, machines=0) as made:
        made.machines += [
            offer(
                "5Miner/cheap", cards=1, micro_usd_per_card_hour=USD // 10, performance=0.5, reliability=0.7
            ),
            offer("5Miner/good", cards=4, performance=1.0, reliability=0.9, region="eu"),
            offer(
                "5Miner/best", model="H100", vram_gib=80.0, micro_usd_per_card_hour=2 * USD, reliability=1.0
            ),
        ]
        yield made


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["cheap", "good", "best"]),
        ("sort=price", ["cheap", "good", "best"]),
        ("sort=reliability", ["best", "good", "cheap"]),
        ("model=H100", ["best"]),
        ("count=2", ["good", "best"]),
        ("count=2&max_usd_per_hour=1", ["good"]),
        ("max_usd_per_hour=0.05", []),
        ("min_vram_gib=48", ["best"]),
        ("min_performance=0.6&sort=price", ["good", "best"]),
        ("min_reliability=0.95", ["best"]),
        ("region=eu", ["good"]),
    ],
)
def test_a_question_is_answered(varied, query, expected):
    """What fits all of it, in the order that was asked for; without one, the most performance per USD first."""
    found = names(varied.client().get(f"/v1/offers?{query}"))

    assert [name.removeprefix("5Miner/") for name in found] == expected


@pytest.mark.parametrize(
    "query", ["count=-1", "count=x", "sort=beauty", "limit=0", "limit=1001", "colour=red"]
)
def test_a_wrong_question_is_told(varied, query):
    """Unknown words too: a filter with a typing mistake must not find everything."""
    answer = varied.client().get(f"/v1/offers?{query}")

    assert answer.status_code == 422
    assert query.split("=")[0] in answer.json()["detail"]


def test_an_offer_says_what_was_proved(varied):
    """Price in both forms, value from both numbers, and the cards that are free."""
    assert varied.client().get("/v1/offers/5Miner/good").json() == {
        "executor_key": "5Miner/good",
        "model": "L4",
        "vram_gib": 24.0,
        "card_count": 4,
        "free_card_count": 4,
        "min_card_count": 1,
        "micro_usd_per_card_hour": 500_000,
        "usd_per_card_hour": "0.500000",
        "micro_usd_per_hour": 2_000_000,
        "usd_per_hour": "2.000000",
        "performance": 1.0,
        "bandwidth_gb_s": 300.0,
        "performance_per_usd": 2.0,
        "reliability": 0.9,
        "region": "eu",
        "epoch": 0,
    }


def test_machines_that_are_leased_by_more_cards_are_not_found_for_fewer(varied):
    """The miner's fewest cards are told with the offer, and who asks for less does not get it shown."""
    varied.machines[1] = replace(varied.machines[1], min_cards=2)
    client = varied.client()

    assert client.get("/v1/offers/5Miner/good").json()["min_card_count"] == 2
    assert [names(client.get(f"/v1/offers?region=eu&count={count}")) for count in (0, 1, 2)] == [
        ["5Miner/good"],
        [],
        ["5Miner/good"],
    ]


def test_pages_have_every_machine_once(tmp_path):
    """Also where hundreds are alike: names decide the order."""
    with world(tmp_path, machines=250) as market:
        client, found, cursor = market.client(), [], ""
        while cursor is not None:
            answer = client.get(f"/v1/offers?limit=100&sort=price{cursor and '&cursor=' + cursor}")
            found += names(answer)
            cursor = answer.json()["next_cursor"]

    assert len(found) == len(set(found)) == 250


@pytest.mark.parametrize("cursor", ["x", "eyJh", "WzEsMl0", "A" * 400, "W10"])
def test_a_cursor_of_somebody_else_is_refused(market, cursor):
    """Whatever it decodes to."""
    answer = market.client().get(f"/v1/offers?cursor={cursor}")

    assert (answer.status_code, answer.json()["code"]) == (422, "BAD_CURSOR")


def test_held_cards_are_not_offered(market):
    """A lease's cards are taken off within two seconds, and the machine stays to be looked at."""
    client = market.client()
    assert len(names(client.get("/v1/offers"))) == 3
    lease = market.active(client)
    market.clock.passes(catalogue.STALE_S + 0.01)

    assert lease.executor_key not in names(client.get("/v1/offers"))
    assert client.get(f"/v1/offers/{lease.executor_key}").json()["free_card_count"] == 0


def test_a_machine_that_is_not_offered_is_not_there(market):
    """With where to look."""
    answer = market.client().get("/v1/offers/5Miner/nowhere")

    assert (answer.status_code, answer.json()["mend"]) == (404, "look at GET /v1/offers")


def test_who_has_the_page_is_not_sent_it_again(market):
    """By its ETag; compressed for who can read that."""
    client = market.client()
    first = client.get("/v1/offers", headers={"Accept-Encoding": "gzip"})
    again = client.get("/v1/offers", headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["content-encoding"] == "gzip"
    assert (again.status_code, again.content) == (304, b"")


def test_the_database_is_asked_at_most_twice_a_second(tmp_path):
    """However many ask; while nothing changes, the very answers of before are sent."""
    asked = []
    made = tuple(offer(f"5Miner/{n}") for n in range(3))

    def offers():
        asked.append(1)
        return made

    clock = [0.0]
    shop = catalogue.Catalogue(offers, dict, lambda: clock[0])
    first = shop.snapshot()
    assert all(shop.snapshot() is first for _ in range(100))
    clock[0] += catalogue.FRESH_S + 0.01

    assert shop.snapshot() is first
    assert len(asked) == 2


def test_an_answer_is_made_once(varied):
    """The second who asks the same gets the same bytes."""
    shop = catalogue.Snapshot(varied.machines, {})
    query = catalogue.OfferQuery()

    assert shop.answer("q", query) is shop.answer("q", query)
    assert shop.cached("other") is None


def test_offers_that_change_are_told(varied):
    """A new price is in the next snapshot."""
    client = varied.client()
    client.get("/v1/offers")
    varied.machines[0] = replace(varied.machines[0], micro_usd_per_card_hour=9 * USD)
    varied.clock.passes(1)

    assert client.get("/v1/offers/5Miner/cheap").json()["usd_per_card_hour"] == "9.000000"
