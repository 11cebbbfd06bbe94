"""Asking the sources that are due, and what all that is known comes to: the market's last good word, or the price file.

sources due -> asked -> kept with what they agree on      a crash anywhere loses at most this asking
kept and file -> quotes                                   the newer of the two, never nothing
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.prices import PriceStore
from storage.records import ALPHA_TAO, RATE, TOKEN, PriceAnswer, Quote
from tasks.edges.prices import Market
from tasks.errors import ChainAway, ChainRefused
from tasks.policy import PricingPolicy
from tasks.pricing.agreement import CHAIN, agree
from tasks.pricing.book import PriceBook, is_plausible

REFRESH = timedelta(minutes=15)
"""A source is asked at most this often, whether it answered or not."""
RAO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Oracle:
    """Everything that is asked for prices."""

    market: Market
    book: PriceBook
    alpha_price_rao: Callable[[], int]
    """Rao of TAO for one alpha, as the chain has it."""


async def refresh(
    oracle: Oracle, store: PriceStore, policy: PricingPolicy, now: datetime, *, is_forced: bool = False
) -> None:
    """Ask every source that is due, and keep what was heard."""
    known = {answer.source: answer for answer in await asyncio.to_thread(store.answers)}
    due = [n for n in oracle.market.names if is_forced or _is_due(known.get(n), now)]
    heard = await oracle.market.ask(due, now)
    if is_forced or _is_due(known.get(CHAIN), now):
        heard = (*heard, await asyncio.to_thread(_ask_chain, oracle.alpha_price_rao, now))
    believed = {**known, **{a.source: a for a in heard if not a.fault}}
    asked = [a for name, a in believed.items() if name in (*oracle.market.names, CHAIN)]
    anchors = oracle.book.anchors()
    await asyncio.to_thread(store.save, heard, agree(asked, anchors, policy, now).quotes)


def current(seen: Iterable[Quote], book: PriceBook, names: Sequence[str]) -> tuple[Quote, ...]:
    """The rate of every model and the price of both tokens: of what sources that are still named agreed on and of the
    price file, the newer.
    """
    best = {(quote.kind, quote.name): quote for quote in book.quotes()}
    trusted = {*names, CHAIN}
    for quote in seen:
        key = (quote.kind, quote.name)
        if (
            quote.kind in (RATE, TOKEN)
            and set(quote.source.split(",")) <= trusted
            and quote.as_of >= best.get(key, quote).as_of
        ):
            best[key] = quote
    return tuple(best[key] for key in sorted(best))


def stale(
    quotes: Iterable[Quote], names: Sequence[str], policy: PricingPolicy, now: datetime
) -> tuple[Quote, ...]:
    """Those that are older than the policy likes: tokens, and the market's rates when none of them is newer.

    A model that the market no longer lists is no reason to warn, nor is the age of a file that is all that was asked for.
    """
    if not names:
        return ()
    listed, trusted = list(quotes), {*names, CHAIN}
    oldest = now - timedelta(seconds=policy.stale_after_s)
    tokens = tuple(q for q in listed if q.kind == TOKEN and q.as_of < oldest)
    rates = tuple(q for q in listed if q.kind == RATE and set(q.source.split(",")) <= trusted)
    return tokens + (rates if all(rate.as_of < oldest for rate in rates) else ())


def _is_due(answer: PriceAnswer | None, now: datetime) -> bool:
    """Also when the clock was set back."""
    return answer is None or not answer.asked_at <= now < answer.asked_at + REFRESH


def _ask_chain(alpha_price_rao: Callable[[], int], now: datetime) -> PriceAnswer:
    try:
        alpha_tao = alpha_price_rao() / RAO
    except (ChainAway, ChainRefused) as error:
        return PriceAnswer(CHAIN, now, str(error)[:240], ())
    if not is_plausible(TOKEN, ALPHA_TAO, alpha_tao):
        return PriceAnswer(CHAIN, now, f"{alpha_tao:g} TAO for one alpha, which can't be", ())
    return PriceAnswer(CHAIN, now, "", (Quote(TOKEN, ALPHA_TAO, alpha_tao, CHAIN, now),))
