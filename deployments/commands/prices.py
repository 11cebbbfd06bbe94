"""`subnet prices`: what the market pays, who says so, how old it is, and which sources are away."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployments.localnet.layout import Layout
from deployments.sites import folder_of, load_dotenv, local_substrate
from deployments.view import cell, make_console
from flows.settings import Settings, read_settings
from storage.database import migrate, open_database
from storage.prices import PriceStore
from storage.records import PORTION, RATE, TOKEN, PriceAnswer, Quote
from tasks.edges.prices import HttpMarket, load_book
from tasks.policy import preset
from tasks.pricing.agreement import CHAIN, Agreement, agree
from tasks.pricing.asking import Oracle, current, refresh, stale
from tasks.pricing.book import TABLE
from tasks.pricing.sources import SOURCES

_UNITS = {RATE: "USD/h a card", "tao_usd": "USD", "alpha_tao": "TAO", PORTION: "share"}


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that the command tells."""

    now: datetime
    names: tuple[str, ...]
    quotes: tuple[Quote, ...]
    stale: tuple[Quote, ...]
    answers: tuple[PriceAnswer, ...]
    agreement: Agreement
    """Of what the sources say now."""


@click.command()
@click.option("--refresh", "is_refresh", is_flag=True, help="Ask all sources and the chain now.")
@click.option("--all", "is_all", is_flag=True, help="Also models whose rate is an estimate of ours.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with everything.")
def command(*, is_refresh: bool, is_all: bool, as_json: bool) -> int:
    """Show the prices that scoring uses: rates of models, TAO and alpha, each with its sources and its age.

    A source that failed is listed with the reason; its last answer, or the price file, is used meanwhile. Exit code 1:
    a price is older than the policy likes.

    \b
    Examples:
      subnet prices
      subnet prices --refresh
      subnet prices --all --json | jq '.quotes[] | select(.kind == "token")'
    """
    load_dotenv()
    settings = read_settings(os.environ)
    if settings.is_embedded:
        settings = Layout(folder_of(os.environ)).settings(os.environ)
    known = learn(settings, is_refresh=is_refresh)
    if as_json:
        click.echo(json.dumps(as_document(known), indent=2))
    else:
        show(make_console(), known, is_all=is_all)
    return 1 if known.stale else 0


def learn(settings: Settings, *, is_refresh: bool) -> Known:
    """What is known, asked anew when that is wanted."""
    policy, now = preset(settings.policy).pricing, datetime.now(UTC)
    market = HttpMarket(SOURCES[name] for name in settings.price_sources)
    book = load_book(settings.price_file)
    engine = open_database(settings.database_url)
    migrate(engine)
    store = PriceStore(engine)
    try:
        if is_refresh:
            oracle = Oracle(market, book, lambda: _alpha_price_rao(settings))
            asyncio.run(refresh(oracle, store, policy, now, is_forced=True))
        seen, answers = store.seen(), store.answers()
    finally:
        engine.dispose()
    quotes = current(seen, book, market.names)
    asked = tuple(answer for answer in answers if answer.source in (*market.names, CHAIN))
    return Known(
        now=now,
        names=market.names,
        quotes=(*quotes, *(quote for quote in seen if quote.kind == PORTION)),
        stale=stale(quotes, market.names, policy, now),
        answers=asked,
        agreement=agree(asked, book.anchors(), policy, now),
    )


def _alpha_price_rao(settings: Settings) -> int:
    from tasks.edges.chain import Chain, ChainSettings  # noqa: PLC0415  the SDK is half a second of import

    chain = Chain(
        ChainSettings(settings.network, settings.netuid, settings.chain_deadline_s, cache=settings.cache),
        substrate_factory=local_substrate(settings),
    )
    try:
        return chain.alpha_price_rao()
    finally:
        chain.close()


# --- how it looks ----------------------------------------------------------------------------------


def show(console: Console, known: Known, *, is_all: bool) -> None:
    """The prices, then the sources, then what they did not agree on."""
    shown = [q for q in known.quotes if is_all or q.source != TABLE]
    console.print(_prices(known, shown))
    console.print(_sources(known))
    for (_, name), why in known.agreement.refused.items():
        console.print(Text.assemble((name, "yellow"), "  ", cell(why)), soft_wrap=True)
    hidden = len(known.quotes) - len(shown)
    if hidden:
        console.print(
            f"{hidden} models with an estimated rate are not listed: --all shows them.", style="dim"
        )


def _prices(known: Known, quotes: Iterable[Quote]) -> Table:
    table = _table("Prices")
    for heading in ("kind", "name", "value", "unit", "sources", "age"):
        table.add_column(heading, justify="right" if heading in ("value", "age") else "left", no_wrap=True)
    for quote in sorted(quotes, key=lambda q: (q.kind != TOKEN, q.kind != RATE, -q.value)):
        unit = _UNITS.get(quote.kind) or _UNITS.get(quote.name, "")
        age = Text(age_of(known.now - quote.as_of), "yellow" if quote in known.stale else "")
        table.add_row(quote.kind, quote.name, f"{quote.value:.6g}", unit, cell(quote.source), age)
    return table


def _sources(known: Known) -> Table:
    table = _table("Sources")
    for heading in ("source", "gives", "asked", "said"):
        table.add_column(heading, no_wrap=heading == "source")
    by_name = {answer.source: answer for answer in known.answers}
    for name in (*known.names, CHAIN):
        answer = by_name.get(name)
        gives = SOURCES[name].gives if name in SOURCES else "alpha in TAO, the subnet's pool"
        if answer is None:
            table.add_row(name, gives, "never", "")
            continue
        said = Text(f"{len(answer.quotes)} prices", "green")
        table.add_row(
            name,
            gives,
            f"{age_of(known.now - answer.asked_at)} ago",
            Text("failed: ", "red") + cell(answer.fault) if answer.fault else said,
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))


def age_of(age: timedelta) -> str:
    """In the largest unit that tells it: 40 s, 12 min, 5 h, 150 d."""
    seconds = max(0.0, age.total_seconds())
    for unit, size, below in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 172_800)):
        if seconds < below:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def as_document(known: Known) -> dict[str, object]:
    """The same for programs."""
    by_name = {answer.source: answer for answer in known.answers}
    return {
        "now": known.now.isoformat(),
        "quotes": [_quote(quote, known) for quote in known.quotes],
        "sources": [_source(name, by_name.get(name)) for name in (*known.names, CHAIN)],
        "not_agreed": {f"{kind} {name}": why for (kind, name), why in known.agreement.refused.items()},
    }


def _quote(quote: Quote, known: Known) -> dict[str, object]:
    return {
        "kind": quote.kind,
        "name": quote.name,
        "value": quote.value,
        "sources": quote.source.split(","),
        "as_of": quote.as_of.isoformat(),
        "age_s": round((known.now - quote.as_of).total_seconds()),
        "is_stale": quote in known.stale,
    }


def _source(name: str, answer: PriceAnswer | None) -> dict[str, object]:
    said: Sequence[Quote] = answer.quotes if answer else ()
    return {
        "source": name,
        "asked_at": answer.asked_at.isoformat() if answer else None,
        "fault": answer.fault if answer else None,
        "said": {quote.name: quote.value for quote in said},
    }
