"""Prices as a step: what the market pays now, kept in the state, before scoring; who is away costs nothing but age."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from storage.prices import PriceStore
from storage.records import PORTION, HostReport, PriceAnswer, Quote, Reason, Severity
from tasks.epoch import EpochRun
from tasks.inspection.models import find
from tasks.pricing.asking import Oracle, current, refresh, stale
from tasks.pricing.portions import next_portions, revenue_quotes, revenue_shares
from tasks.stepping import step


async def learn_prices(run: EpochRun, reports: Iterable[HostReport]) -> None:
    """The epoch's quotes: rates, tokens, portions and what these move towards."""
    run.quotes = await price(run, leased_models(run, reports))


@step("prices", deadline_s=120.0)
async def price(run: EpochRun, models: Mapping[str, str]) -> tuple[Quote, ...]:
    """Ask who is due, keep what was heard, move the portions, and warn of what is old."""
    now, store = datetime.now(UTC), PriceStore(run.edges.engine)
    oracle = Oracle(run.edges.market, run.edges.book, run.edges.chain.alpha_price_rao)
    await refresh(oracle, store, run.policy.pricing, now)
    names = oracle.market.names
    quotes = current(await asyncio.to_thread(store.seen), oracle.book, names)
    old = stale(quotes, names, run.policy.pricing, now)
    if old:
        run.incidents.append(stale_reason(old, await asyncio.to_thread(store.answers), run, now))
    return quotes + await asyncio.to_thread(_move_portions, run, store, models, now)


def leased_models(run: EpochRun, reports: Iterable[HostReport]) -> dict[str, str]:
    """The table's name of the model of each leased machine, as it was listed now or before."""
    listed = {r.executor_key: r.facts.cards[0].model for r in reports if r.facts.cards}
    names = {key: listed.get(key) or run.record_of(key).model or "" for key in run.leased_keys}
    found = {key: find(name) for key, name in names.items()}
    return {key: model.name for key, model in found.items() if model is not None}


def _move_portions(
    run: EpochRun, store: PriceStore, models: Mapping[str, str], now: datetime
) -> tuple[Quote, ...]:
    """The portions and the revenue that they move towards; a run that comes second takes what the first has moved."""
    revenue = revenue_shares(run.leases, models)
    while True:
        kept = [quote for quote in store.seen() if quote.kind == PORTION]
        portions = next_portions(kept, revenue, run.policy.pricing, now)
        if not (kept or revenue) or store.move_portions(kept[0].as_of if kept else None, portions):
            return revenue_quotes(revenue, now) + portions


def stale_reason(
    old: Sequence[Quote], answers: Iterable[PriceAnswer], run: EpochRun, now: datetime
) -> Reason:
    """Which numbers are old, how old, and why no newer came."""
    ages = ", ".join(f"{q.name} {(now - q.as_of).total_seconds() / 3600:.0f} h" for q in old[:8])
    faults = "; ".join(f"{answer.source}: {answer.fault}" for answer in answers if answer.fault)
    limit_h = run.policy.pricing.stale_after_s / 3600
    return Reason(
        "PRICES_STALE",
        Severity.WARN,
        f"{ages} ({faults or 'the sources do not agree'})"[:300],
        f"prices of the last {limit_h:g} h",
        "Look at `subnet prices`, and let this machine reach the sources; the last good prices are used meanwhile.",
    )
