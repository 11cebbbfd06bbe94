"""The named sources of the market's numbers: where each is asked, and how its answer is read. Pure.

An answer is foreign input: typed, bounded in depth by the JSON reader, its names looked up in our own tables, its numbers
held to what is plausible. What does not fit is a BadAnswer, or in a long list a row that is left out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from types import MappingProxyType
from typing import Annotated, Any, TypeVar
from urllib.parse import quote as quoted

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from storage.records import RATE, TAO_USD, TOKEN, Quote
from tasks.errors import BadAnswer
from tasks.inspection import models
from tasks.pricing.book import is_plausible
from tasks.pricing.names import AKASH_NAMES, VAST_NAMES

LEAST_OFFERS = 5
"""A model with fewer is not quoted: the median of three machines is noise."""
MAX_ROWS = 5_000

Parse = Callable[[bytes, datetime], tuple[Quote, ...]]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Source:
    """One source: asked by GET, or by POST where there is a body."""

    name: str
    url: str
    gives: str
    """In words, for whoever chooses sources."""
    documented: str
    """Where its form is described."""
    parse: Parse
    body: bytes = b""
    """JSON."""


class _Form(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, strict=True)


_Price = Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,18})?$")]
"""A number as text, as exchanges write it."""
_Name = Annotated[str, Field(max_length=80)]


# --- tokens ----------------------------------------------------------------------------------------


class _KrakenTicker(_Form):
    c: Annotated[list[_Price], Field(min_length=1, max_length=4)]
    """Last trade: price, volume."""


class _Kraken(_Form):
    error: Annotated[list[str], Field(max_length=20)]
    result: Annotated[dict[_Name, _KrakenTicker], Field(max_length=4)] = {}


def parse_kraken(body: bytes, now: datetime) -> tuple[Quote, ...]:
    """The last trade of the one pair that was asked for, whatever name the exchange gives it."""
    answer = _read(_Kraken, body)
    if answer.error or len(answer.result) != 1:
        raise BadAnswer(f"an error of the exchange: {answer.error[:1] or 'not one pair'}"[:120])
    return _token("kraken", float(next(iter(answer.result.values())).c[0]), now)


class _CoinbaseData(_Form):
    amount: _Price
    base: _Name
    currency: _Name


class _Coinbase(_Form):
    data: _CoinbaseData


def parse_coinbase(body: bytes, now: datetime) -> tuple[Quote, ...]:
    """The spot price, if it is of the pair that was asked for."""
    data = _read(_Coinbase, body).data
    if (data.base, data.currency) != ("TAO", "USD"):
        raise BadAnswer(f"a price of {data.base}-{data.currency}, asked was TAO-USD"[:120])
    return _token("coinbase", float(data.amount), now)


class _CoinGeckoCoin(_Form):
    usd: float
    last_updated_at: Annotated[int, Field(ge=1_500_000_000, le=1 << 34)]


class _CoinGecko(_Form):
    bittensor: _CoinGeckoCoin


def parse_coingecko(body: bytes, now: datetime) -> tuple[Quote, ...]:
    """The average over exchanges, with its own time."""
    coin = _read(_CoinGecko, body).bittensor
    return _token("coingecko", coin.usd, min(now, datetime.fromtimestamp(coin.last_updated_at, UTC)))


# --- rates -----------------------------------------------------------------------------------------


class _VastOffer(_Form):
    gpu_name: _Name
    num_gpus: Annotated[int, Field(ge=1, le=64)]
    dph_total: Annotated[float, Field(gt=0)]
    """USD an hour for the whole offer."""
    is_bid: bool = False
    rentable: bool = True


class _Vast(_Form):
    offers: Annotated[list[Any], Field(max_length=MAX_ROWS)]


def parse_vast(body: bytes, now: datetime) -> tuple[Quote, ...]:
    """For each model the median over machines that can be rented on demand, per card."""
    offers = _rows(_VastOffer, _read(_Vast, body).offers)
    prices: dict[str, list[float]] = defaultdict(list)
    for offer in offers:
        name = VAST_NAMES.get(offer.gpu_name)
        if name and offer.rentable and not offer.is_bid:
            prices[name].append(offer.dph_total / offer.num_gpus)
    enough = {name: median(each) for name, each in prices.items() if len(each) >= LEAST_OFFERS}
    return _rates("vast", enough, now)


class _RunPodType(_Form):
    id: _Name
    """The name as nvidia-smi prints it."""
    communityPrice: float | None = None  # noqa: N815  its own name
    """USD an hour and card of machines of third parties; 0 where there is none."""


class _RunPodTypes(_Form):
    gpuTypes: Annotated[list[Any], Field(max_length=MAX_ROWS)]  # noqa: N815  its own name


class _RunPod(_Form):
    data: _RunPodTypes


def parse_runpod(body: bytes, now: datetime) -> tuple[Quote, ...]:
    """For each model what machines of third parties cost: its own data centres are another market."""
    prices = {}
    for kind in _rows(_RunPodType, _read(_RunPod, body).data.gpuTypes):
        model = models.find(kind.id)
        if model and kind.communityPrice:
            prices[model.name] = kind.communityPrice
    return _rates("runpod", prices, now)


class _AkashPrice(_Form):
    currency: _Name
    med: float


class _AkashModel(_Form):
    vendor: _Name
    model: _Name
    ram: _Name
    interface: _Name
    price: _AkashPrice | None


class _Akash(_Form):
    models: Annotated[list[Any], Field(max_length=MAX_ROWS)]


def parse_akash(body: bytes, now: datetime) -> tuple[Quote, ...]:
    """For each model the median of the last month's bids."""
    prices = {}
    for row in _rows(_AkashModel, _read(_Akash, body).models):
        name = AKASH_NAMES.get((row.model.lower(), row.ram, row.interface.lower()[:3]))
        if name and row.vendor == "nvidia" and row.price and row.price.currency == "USD":
            prices[name] = row.price.med
    return _rates("akash", prices, now)


# --- reading ---------------------------------------------------------------------------------------


def _read(form: type[M], body: bytes) -> M:
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"]) or "the answer"
        raise BadAnswer(f"{where}: {first['msg']}"[:200]) from None


def _rows(form: type[M], rows: Iterable[object]) -> list[M]:
    """The rows that fit; one odd row of a third party is no reason to do without the rest."""
    adapter, fitting = TypeAdapter(form), []
    for row in rows:
        try:
            fitting.append(adapter.validate_python(row))
        except ValidationError:
            continue
    return fitting


def _token(source: str, value: float, as_of: datetime) -> tuple[Quote, ...]:
    if not is_plausible(TOKEN, TAO_USD, value):
        raise BadAnswer(f"{value:g} USD for one TAO, which can't be")
    return (Quote(TOKEN, TAO_USD, value, source, as_of),)


def _rates(source: str, prices: Mapping[str, float], now: datetime) -> tuple[Quote, ...]:
    """BadAnswer when nothing is left: a list whose names or numbers all changed looks like an empty market."""
    quotes = tuple(
        Quote(RATE, name, price, source, now)
        for name, price in sorted(prices.items())
        if is_plausible(RATE, name, price)
    )
    if not quotes:
        raise BadAnswer("no model of ours with a plausible price is in it")
    return quotes


# --- the list --------------------------------------------------------------------------------------

_VAST_QUERY = {
    "gpu_name": {"in": sorted(VAST_NAMES)},
    "verified": {"eq": True},
    "rentable": {"eq": True},
    "external": {"eq": False},
    "type": "on-demand",
    "order": [["score", "desc"]],
    "limit": 1_000,
}

SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        source.name: source
        for source in (
            Source(
                name="kraken",
                url="https://api.kraken.com/0/public/Ticker?pair=TAOUSD",
                gives="TAO in USD, last trade",
                documented="https://docs.kraken.com/api/docs/rest-api/get-ticker-information",
                parse=parse_kraken,
            ),
            Source(
                name="coinbase",
                url="https://api.coinbase.com/v2/prices/TAO-USD/spot",
                gives="TAO in USD, spot",
                documented="https://docs.cdp.coinbase.com/coinbase-app/track-apis/prices",
                parse=parse_coinbase,
            ),
            Source(
                name="coingecko",
                url="https://api.coingecko.com/api/v3/simple/price"
                "?ids=bittensor&vs_currencies=usd&include_last_updated_at=true",
                gives="TAO in USD, average over exchanges",
                documented="https://docs.coingecko.com/reference/simple-price",
                parse=parse_coingecko,
            ),
            Source(
                name="vast",
                url="https://console.vast.ai/api/v0/bundles/?q=" + quoted(json.dumps(_VAST_QUERY)),
                gives="rates: median offer on demand, verified machines of third parties",
                documented="https://docs.vast.ai/api-reference",
                parse=parse_vast,
            ),
            Source(
                name="runpod",
                url="https://api.runpod.io/graphql",
                gives="rates: community price, machines of third parties",
                documented="https://docs.runpod.io/sdks/graphql/manage-pods",
                parse=parse_runpod,
                body=b'{"query": "{ gpuTypes { id communityPrice } }"}',
            ),
            Source(
                name="akash",
                url="https://console-api.akash.network/v1/gpu-prices",
                gives="rates: median of the last month's bids",
                documented="https://akash.network/pricing/gpus/ reads the same address",
                parse=parse_akash,
            ),
        )
    }
)
