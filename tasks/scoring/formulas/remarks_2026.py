"""What `lium-2026` tells: every reason that takes something off, at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from storage.records import ALPHA_TAO, TAO_USD, Reason
from tasks.collateral.cover import Cover
from tasks.scoring import reasons, terms
from tasks.scoring.formulas.bill import Columns, Given, Remark
from tasks.scoring.formulas.common import (
    capacity_remark,
    collateral_remark,
    isolation_remark,
    portion_remark,
    price_remark,
)
from tasks.scoring.formulas.programme import Programme


def remarks(
    frame: pd.DataFrame,
    columns: Columns,
    given: Given,
    taken: Programme,
    more: tuple[np.ndarray, Cover],
) -> Iterator[Remark]:
    """Of both parts; `more` are the payable cards in each machine's bucket, and each machine's deposit."""
    there, covered = more
    yield from _of_price(frame, columns, given)
    yield from _of_leased(frame, columns, given, covered)
    yield from _of_programme(frame, columns, taken)
    yield from _of_idle(frame, columns, given)
    is_short = (columns["idle_cards"] > 0) & (columns["capacity"] < 1.0)
    yield capacity_remark(frame, is_short, (taken.bucket, there, taken.caps))
    yield from _of_tokens(columns, given)


def _of_price(frame: pd.DataFrame, columns: Columns, given: Given) -> Iterator[Remark]:
    own, asked = given.policy.lium_2026, frame["price_usd_per_hour"].to_numpy()
    least = terms.most_usd(frame, own.price_least)

    def below(at: int) -> Reason:
        return reasons.price_below_floor(asked[at], least[at])

    yield price_remark(frame, columns["price"] < 1.0, own.price_most)
    yield Remark("price", (asked < least) & np.isfinite(least), below)


def _of_leased(frame: pd.DataFrame, columns: Columns, given: Given, covered: Cover) -> Iterator[Remark]:
    is_leased, policy = columns["leased_cards"] > 0, given.policy
    yield portion_remark(frame, is_leased & (columns["portion"] == 0.0))
    yield isolation_remark(frame, "isolation", is_leased & (columns["isolation"] < 1.0), policy)
    is_young = is_leased & (columns["uptime"] < 1.0) & ~covered.is_covered
    yield collateral_remark("uptime", is_young, covered, policy)


def _of_programme(frame: pd.DataFrame, columns: Columns, taken: Programme) -> Iterator[Remark]:
    is_idle = columns["idle_cards"] > 0
    model, cards, free = (frame[name].to_numpy() for name in ("model", "card_count", "disk_free_bytes"))
    card_usd = frame["price_usd_per_hour"].to_numpy() / np.maximum(cards, 1)

    def listed(at: int) -> Reason:
        return reasons.not_in_programme(model[at], int(cards[at]))

    def price(at: int) -> Reason:
        return reasons.idle_price_high(card_usd[at], taken.most_usd[at])

    def disk(at: int) -> Reason:
        return reasons.idle_disk_small(free[at], taken.disk_bytes[at])

    yield Remark("programme", is_idle & ~taken.is_listed, listed)
    yield Remark("programme", is_idle & (card_usd > taken.most_usd), price)
    yield Remark("programme", is_idle & (taken.disk_bytes > 0) & ~(free >= taken.disk_bytes), disk)


def _of_idle(frame: pd.DataFrame, columns: Columns, given: Given) -> Iterator[Remark]:
    is_idle, least = columns["idle_cards"] > 0, given.policy.lium_2026.driver_min
    facts = frame["facts"].to_numpy()

    def driver(at: int) -> Reason:
        return reasons.driver_too_old(facts[at].cards[0].driver, least)

    # A machine that is leased in part has been told of its runtime already.
    alone = is_idle & (columns["leased_cards"] == 0)
    yield isolation_remark(frame, "idle_isolation", alone & (columns["idle_isolation"] < 1.0), given.policy)
    yield Remark("driver", is_idle & (columns["driver"] < 1.0), driver)


def _of_tokens(columns: Columns, given: Given) -> Iterator[Remark]:
    missing = [name for name in (TAO_USD, ALPHA_TAO) if not given.market.tokens.get(name, 0.0) > 0.0]
    if missing:
        told = reasons.token_price_missing(", ".join(missing))
        yield Remark("idle_pool", columns["idle_points"] > 0.0, lambda _: told)
