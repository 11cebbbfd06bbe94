"""Asking who is due, and what is used when sources are away: the last good number with its age, never nothing."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from storage.prices import PriceStore
from storage.records import ALPHA_TAO, RATE, TAO_USD, TOKEN, Quote
from tasks.edges.prices import HttpMarket, MarketSettings, load_book
from tasks.errors import ChainAway
from tasks.policy import PricingPolicy
from tasks.pricing.asking import Oracle, current, refresh, stale
from tests.databases import fresh
from tests.tasks.pricing.markets import TAO, market, saying

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
POLICY = PricingPolicy()
BOOK = load_book(None)
SETTINGS = MarketSettings(deadline_s=1.0)


@pytest.fixture
def store(tmp_path):
    """Over a migrated database."""
    engine = fresh(tmp_path)
    yield PriceStore(engine)
    engine.dispose()


def chain_away():
    raise ChainAway("no node")


def ask(store, now, alpha=lambda: 50_000_000, **behaviours):
    """Refresh from sources that behave so; which were asked."""

    async def run():
        async with market(**behaviours) as (sources, requests):
            await refresh(Oracle(HttpMarket(sources, SETTINGS), BOOK, alpha), store, POLICY, now)
            return sorted(name for name, _ in requests)

    return asyncio.run(run())


def tokens(store, names=("kraken", "coinbase")):
    """Value and source of both tokens as they are used now."""
    found = current(store.seen(), BOOK, names)
    return {quote.name: (quote.value, quote.source) for quote in found if quote.kind == TOKEN}


def two(kraken=300.0, coinbase=302.0):
    """Two exchanges that say this."""
    return {"kraken": saying(TAO["kraken"](kraken)), "coinbase": saying(TAO["coinbase"](coinbase))}


def test_two_sources_and_the_chain_make_the_prices(store):
    """TAO from the exchanges' median, alpha from the chain, rates from the file."""

    asked = ask(store, NOON, **two())

    assert asked == ["coinbase", "kraken"]
    assert tokens(store) == {TAO_USD: (301.0, "coinbase,kraken"), ALPHA_TAO: (0.05, "chain")}
    rates = {q.name: q.source for q in current(store.seen(), BOOK, ()) if q.kind == RATE}
    assert (rates["H200"], rates["RTX A5500"]) == ("file", "table")


def test_nobody_is_asked_twice_in_a_quarter_of_an_hour(store):
    """Not even who was away: what is kept is used meanwhile."""

    ask(store, NOON, kraken=two()["kraken"], coinbase=saying(b"", status=500))
    again = ask(store, NOON + timedelta(minutes=14), **two())
    due = ask(store, NOON + timedelta(minutes=15), **two())

    assert (again, due) == ([], ["coinbase", "kraken"])


def test_away_costs_nothing_but_age(store):
    """The last good price stays, with its own time, for as long as all are away; a start without any has the file's."""

    assert tokens(store) == {TAO_USD: (200.0, "file"), ALPHA_TAO: (0.001, "file")}
    ask(store, NOON, **two())
    gone = saying(b"", status=503)
    ask(store, NOON + timedelta(days=2), alpha=chain_away, kraken=gone, coinbase=gone)

    assert tokens(store) == {TAO_USD: (301.0, "coinbase,kraken"), ALPHA_TAO: (0.05, "chain")}
    assert {a.source: bool(a.fault) for a in store.answers()} == {
        "kraken": True,
        "coinbase": True,
        "chain": True,
    }


def test_one_left_of_two_changes_no_price(store):
    """A single source, and two that contradict each other, are not believed: the older price stays."""

    ask(store, NOON, **two())
    ask(store, NOON + timedelta(hours=2), kraken=two(900.0)["kraken"], coinbase=saying(b"", status=500))
    ask(store, NOON + timedelta(hours=4), **two(900.0, 302.0))

    assert tokens(store)[TAO_USD] == (301.0, "coinbase,kraken")


def test_what_is_old_is_told(store):
    """After a day the token's price is stale; a file that is all that was asked for never is."""

    ask(store, NOON, **two())
    names = ("kraken", "coinbase")

    def told(now, names):
        return [q.name for q in stale(current(store.seen(), BOOK, names), names, POLICY, now)]

    assert told(NOON + timedelta(hours=24), names) == []
    assert told(NOON + timedelta(hours=25), names) == [ALPHA_TAO, TAO_USD]
    assert told(NOON + timedelta(hours=25), ()) == []


def test_a_model_that_the_market_forgot_is_no_warning():
    """One old rate beside a new one is a model that is no longer listed; all old ones are a market that is away."""

    def rate(model, age):
        return Quote(RATE, model, 1.0, "runpod,vast", NOON - age)

    day, hour = timedelta(days=2), timedelta(hours=1)
    names = ("vast", "runpod")

    assert stale([rate("L4", day), rate("H200", hour)], names, POLICY, NOON) == ()
    assert len(stale([rate("L4", day), rate("H200", day)], names, POLICY, NOON)) == 2


def test_a_source_that_is_no_longer_named_counts_no_more(store):
    """Taken from the settings, its number goes: the file stands in."""

    ask(store, NOON, **two())

    assert tokens(store, names=())[TAO_USD] == (200.0, "file")
    assert tokens(store, names=("kraken",))[TAO_USD] == (200.0, "file")


def test_a_newer_file_wins():
    """An operator who writes a file of today is not overruled by yesterday's market."""

    old = Quote(TOKEN, TAO_USD, 300.0, "kraken,coinbase", BOOK.as_of - timedelta(days=1))

    [tao] = [q for q in current([old], BOOK, ("kraken", "coinbase")) if q.name == TAO_USD]
    assert tao.source == "file"


def test_an_alpha_price_of_zero_is_a_fault(store):
    """An empty pool on the chain gives no price: not a silent zero."""

    ask(store, NOON, alpha=lambda: 0)

    assert tokens(store)[ALPHA_TAO] == (0.001, "file")
    assert "which can't be" in store.answers()[0].fault
