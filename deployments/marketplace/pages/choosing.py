"""Which machines the first page shows, at which price, and which of them are the best for their money. Pure.

A machine's price is that of the mode that was chosen, by the market's own rule (`tasks/renting/pricing.py`): what is shown is what
is charged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Annotated, Literal

from pydantic import Field

from deployments.marketplace.catalogue import Snapshot
from deployments.marketplace.fields import MAX_MICRO_USD
from deployments.marketplace.models import Offer, OfferQuery
from storage.rental import Mode, Wish
from tasks.policy import RentingPolicy
from tasks.renting.pricing import Demand, quote

ROWS = 50
"""Of one page of the list."""


class Question(OfferQuery):
    """What the machines are to be like, as the page's form asks it."""

    sort: Literal["value", "price", "reliability"] = "value"
    """By `value` here: the most proved bandwidth per USD, which cards of all models can be compared by."""
    mode: Mode = Mode.ON_DEMAND
    hours: Annotated[int, Field(ge=0, le=87_600, description="Of a reserved lease.")] = 0
    look: Literal["table", "cards"] = "table"
    page: Annotated[int, Field(ge=1, le=1_000)] = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """A machine that fits, at the price of the chosen mode."""

    offer: Offer
    micro_usd_per_card_hour: int
    is_best: bool = False
    """No other one that fits is cheaper and proved as fast, or proved faster at this price."""

    @property
    def gb_s_per_usd(self) -> float:
        """Proved memory bandwidth of a card for a dollar an hour; a free one counts as a millionth of a dollar."""
        return self.offer.bandwidth_gb_s / (max(self.micro_usd_per_card_hour, 1) / 1e6)


@dataclass(frozen=True, slots=True)
class Chosen:
    """All that fit, in order."""

    question: Question
    choices: tuple[Choice, ...]

    @property
    def pages(self) -> int:
        """Of the list, at least one."""
        return max(1, -(-len(self.choices) // ROWS))

    @property
    def rows(self) -> tuple[Choice, ...]:
        """Those of the page that is looked at."""
        first = (min(self.question.page, self.pages) - 1) * ROWS
        return self.choices[first : first + ROWS]


def choose(snapshot: Snapshot, question: Question, policy: RentingPolicy) -> Chosen:
    """The machines that fit, at the chosen mode's price."""
    asked = question.model_copy(update={"max_usd_per_hour": 0.0})  # the price of the mode is what is bounded
    most = question.max_usd_per_hour
    count = question.count or 1
    found = [
        choice
        for _, offer in snapshot.fitting(asked)
        if (choice := _choice(offer, question, policy, snapshot.demand)) is not None
        and (not most or choice.micro_usd_per_card_hour * count <= most * 1e6)
    ]
    return Chosen(question, _in_order(with_best(found), question))


def _choice(
    offer: Offer, question: Question, policy: RentingPolicy, demand: Mapping[str, Demand]
) -> Choice | None:
    price = card_price(offer, question.mode, question.hours, policy, demand)
    return None if price is None else Choice(offer, price)


def card_price(
    offer: Offer, mode: Mode, hours: int, policy: RentingPolicy, demand: Mapping[str, Demand]
) -> int | None:
    """Micro-USD an hour of one card in a mode, a reserved one for the fewest hours that have a discount unless some are named."""
    committed = (
        (hours or min(least for least, _ in policy.reserved_discounts)) if mode is Mode.RESERVED else 0
    )
    wish = Wish(mode=mode, hours=committed, bid_micro_usd_per_hour=MAX_MICRO_USD if mode is Mode.SPOT else 0)
    price = quote(wish, offer.micro_usd_per_card_hour, 1, demand.get(offer.model, Demand()), policy)
    return None if price.refusal else price.micro_usd_per_hour


def _in_order(choices: Iterable[Choice], question: Question) -> tuple[Choice, ...]:
    """As they were asked for, at the prices of the chosen mode; equals stay in the order of the API."""
    match question.sort:
        case "price":
            return tuple(sorted(choices, key=lambda one: one.micro_usd_per_card_hour))
        case "value":
            return tuple(sorted(choices, key=lambda one: -one.gb_s_per_usd))
        case _:
            return tuple(choices)


def with_best(choices: Iterable[Choice]) -> list[Choice]:
    """The same in their order, the Pareto set of price and proved bandwidth marked."""
    kept = list(choices)
    best, fastest = set(), 0.0
    by_price = sorted(kept, key=lambda one: one.micro_usd_per_card_hour)
    for _, equals in groupby(by_price, key=lambda one: one.micro_usd_per_card_hour):
        group = list(equals)
        top = max(one.offer.bandwidth_gb_s for one in group)
        if top > fastest:
            fastest = top
            best |= {one.offer.executor_key for one in group if one.offer.bandwidth_gb_s == top}
    return [replace(one, is_best=one.offer.executor_key in best) for one in kept]
