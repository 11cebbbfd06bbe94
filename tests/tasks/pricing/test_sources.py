"""How each named source's answer is read; the bodies have the forms that their documents show."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.records import RATE, TAO_USD, TOKEN
from tasks.errors import BadAnswer
from tasks.inspection.models import MODELS
from tasks.pricing.book import is_plausible
from tasks.pricing.names import AKASH_NAMES, VAST_NAMES
from tasks.pricing.sources import SOURCES

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
KRAKEN = {"error": [], "result": {"TAOUSD": {"a": ["302.2", "1", "1.0"], "c": ["302.10000", "0.5"]}}}
COINBASE = {"data": {"amount": "301.5", "base": "TAO", "currency": "USD"}}
COINGECKO = {"bittensor": {"usd": 303, "last_updated_at": int(NOON.timestamp()) - 60}}


def said(name, document):
    """Kind, name and value of what the source's answer holds."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return [(q.kind, q.name, q.value) for q in SOURCES[name].parse(body, NOON)]


@pytest.mark.parametrize(
    ("name", "document", "value"),
    [("kraken", KRAKEN, 302.1), ("coinbase", COINBASE, 301.5), ("coingecko", COINGECKO, 303.0)],
)
def test_exchanges_tell_the_price_of_tao(name, document, value):
    """The last trade, the spot price, the average over exchanges."""

    assert said(name, document) == [(TOKEN, TAO_USD, value)]


def test_an_average_brings_its_own_time():
    """What was last updated a minute ago is a minute old; what claims to be of the future is of now."""

    [quote] = SOURCES["coingecko"].parse(json.dumps(COINGECKO).encode(), NOON)
    ahead = {"bittensor": {"usd": 303, "last_updated_at": int(NOON.timestamp()) + 999}}
    [early] = SOURCES["coingecko"].parse(json.dumps(ahead).encode(), NOON)

    assert (NOON - quote.as_of).total_seconds() == 60
    assert early.as_of == NOON


def offers(count, **changes):
    """So many offers of machines with two RTX 4090 each."""
    offer = {"gpu_name": "RTX 4090", "num_gpus": 2, "dph_total": 0.7, "is_bid": False, "rentable": True}
    return [offer | changes for _ in range(count)]


def test_vast_is_the_median_per_card():
    """An offer's price is for all of its cards; bids, what can't be rented and odd rows are left out."""

    rows = [
        *offers(5),
        *offers(9, is_bid=True, dph_total=0.1),
        *offers(9, rentable=False, dph_total=0.1),
        *offers(3, num_gpus=0),
        *offers(3, dph_total="0.1"),
        "no offer",
        *offers(2, dph_total=99.0),
    ]

    assert said("vast", {"offers": rows}) == [(RATE, "GeForce RTX 4090", 0.35)]


def test_vast_with_few_offers_says_nothing():
    """Four machines are no market."""

    with pytest.raises(BadAnswer, match="no model of ours with a plausible price"):
        said("vast", {"offers": offers(4)})


def test_runpod_is_its_community_price():
    """By the names that nvidia-smi prints; 0 and null are no offer."""

    types = [
        {"id": "NVIDIA H100 80GB HBM3", "communityPrice": 2.69},
        {"id": "NVIDIA L4", "communityPrice": 0},
        {"id": "NVIDIA A40", "communityPrice": None},
        {"id": "AMD Instinct MI300X OAM", "communityPrice": 2.0},
    ]

    assert said("runpod", {"data": {"gpuTypes": types}}) == [(RATE, "H100 80GB HBM3", 2.69)]


def test_akash_is_the_median_of_bids():
    """By model, memory and interface; only USD, only known ones."""

    row = {"vendor": "nvidia", "model": "h100", "ram": "80Gi", "interface": "SXM5"}
    models = [
        row | {"price": {"currency": "USD", "min": 1.0, "max": 4.0, "avg": 2.2, "med": 2.1}},
        row | {"model": "a100", "price": {"currency": "AKT", "med": 2.1}},
        row | {"model": "h200", "ram": "141Gi", "price": None},
        row | {"model": "gt710", "price": {"currency": "USD", "med": 0.1}},
    ]

    assert said("akash", {"models": models}) == [(RATE, "H100 80GB HBM3", 2.1)]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"{}",
        b"[]",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"data": 1e999}',
        b'{"error": ["EQuery:Unknown asset pair"]}',
        b'{"offers": 7, "models": {}, "data": {"gpuTypes": "all"}}',
    ],
)
def test_what_does_not_fit_is_a_bad_answer(name, body):
    """Nothing, a web page, another form, endless depth: each is refused by name, none raises anything else."""

    with pytest.raises(BadAnswer):
        SOURCES[name].parse(body, NOON)


@pytest.mark.parametrize("price", ["0", "0.0", "1e9", "-5", "nan", "99999999999", "1_000", " 5", "٣٠٢"])
def test_a_price_that_can_not_be_is_refused(price):
    """Not a silent zero, not a billion, not what only some parsers take for a number."""

    with pytest.raises(BadAnswer):
        said("coinbase", {"data": COINBASE["data"] | {"amount": price}})
    with pytest.raises(BadAnswer):
        said("kraken", {"error": [], "result": {"TAOUSD": {"c": [price, "1"]}}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
HONEST = {
    "kraken": KRAKEN,
    "coinbase": COINBASE,
    "coingecko": COINGECKO,
    "vast": {"offers": [{"gpu_name": "RTX 4090", "num_gpus": 2, "dph_total": 0.7}] * 5},
    "runpod": {"data": {"gpuTypes": [{"id": "NVIDIA L4", "communityPrice": 0.3}]}},
    "akash": {
        "models": [
            {
                "vendor": "nvidia",
                "model": "h100",
                "ram": "80Gi",
                "interface": "SXM5",
                "price": {"currency": "USD", "med": 2.1},
            }
        ]
    },
}


def bent(draw, node):
    """The same document with a part of it replaced by anything."""
    if not draw(st.integers(0, 4)):
        return draw(JSON)
    if isinstance(node, dict):
        return {key: bent(draw, part) for key, part in node.items()}
    return [bent(draw, part) for part in node] if isinstance(node, list) else node


@pytest.mark.parametrize("name", SOURCES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_bent_answer_is_refused_or_plausible(name, data):
    """Whatever a source changes in its form: a BadAnswer, or numbers that can be true, of this moment or before."""
    body = json.dumps(bent(data.draw, HONEST[name])).encode()
    try:
        quotes = SOURCES[name].parse(body, NOON)
    except BadAnswer:
        return

    assert quotes
    for quote in quotes:
        assert is_plausible(quote.kind, quote.name, quote.value)
        assert quote.source == name
        assert quote.as_of <= NOON


@pytest.mark.parametrize("name", SOURCES)
def test_an_honest_answer_is_understood(name):
    """The documents that are bent above are fine as they stand."""

    assert said(name, HONEST[name])


def test_another_pair_is_refused():
    """A price of something else is no price of TAO."""

    with pytest.raises(BadAnswer, match="a price of BTC-USD, asked was TAO-USD"):
        said("coinbase", {"data": COINBASE["data"] | {"base": "BTC"}})
    with pytest.raises(BadAnswer):
        said("kraken", {"error": [], "result": KRAKEN["result"] | {"XXBTZUSD": {"c": ["99.0"]}}})


def test_every_name_is_one_of_our_table():
    """What sources call a model leads to a model that there is."""

    names = {model.name for model in MODELS}

    assert {*VAST_NAMES.values(), *AKASH_NAMES.values()} <= names


def test_every_source_is_asked_over_https():
    """And says what it gives and where that is described."""

    for source in SOURCES.values():
        assert source.url.startswith("https://")
        assert source.gives
        assert source.documented
