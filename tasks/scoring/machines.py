"""Records to a frame with a row per machine: everything that any formula looks at.

Rows are in the order of executor_key, whatever the order of the records. `COLUMNS` lists the columns with their units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd

from storage.records import Executor, Grounds, HostReport, Standing, Verdict
from tasks.policy import Policy
from tasks.scoring.columns import (
    NO_REPORT,
    NO_STANDING,
    NO_VERDICT,
    Columns,
    Machines,
    of_cards,
    of_executors,
    of_proofs,
    of_reasons,
    of_standings,
)
from tasks.scoring.leased import leased_parts
from tasks.scoring.market import Market

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "executor_key": "object",
        "miner_hotkey": "object",
        "miner_uid": "int64",
        "miner": "int64",  # a number for the hotkey: groups are faster over numbers
        "price_usd_per_hour": "float64",  # of the machine, as declared
        "locked_rao": "int64",  # by the miner, on the chain
        "model": "object",
        "model_number": "int64",
        "card_count": "int64",
        "vram_bytes": "int64",
        "rate_usd_per_hour": "float64",  # of one card
        "reference_gb_s": "float64",
        "is_seen": "bool",  # it said what it is
        "is_isolating": "bool",  # a runtime of the policy's is offered
        "driver_number": "int64",
        "disk_free_bytes": "float64",
        "facts": "object",
        "proved_gb_s": "float64",  # of the slowest card
        "unproven": "bool",  # the model has too little history
        "up_mbit_s": "float64",  # smoothed
        "down_mbit_s": "float64",
        "passing_s": "float64",  # of unbroken passing
        "deposited_rao": "int64",  # for the machine, in our ledger
        "is_leased": "bool",  # at least a part of it
        "leased_cards": "int64",
        "idle_cards": "int64",
        "rent_usd_per_hour": "float64",  # of all its leases
        "lease_day": "int64",  # on which the newest began: days since 1 January of the year 1
        "passed": "float64",
        "is_counted": "bool",  # among the cards of its model: passed, or failed when it was already seen to be one
        "is_failed": "bool",  # and not only without a verdict
        "reasons": "object",
    }
)
"""Name and type; what is not known is NaN, or 0 of integers."""


class _Keyed(Protocol):
    @property
    def executor_key(self) -> str: ...


K = TypeVar("K", bound=_Keyed)


def machines_frame(
    executors: Iterable[Executor],
    reports: Iterable[HostReport],
    verdicts: Iterable[Verdict],
    grounds: Grounds,
    policy: Policy,
) -> pd.DataFrame:
    """A row per executor. ValueError when two have one key."""
    known = _known(executors, reports, verdicts, grounds.standings, Market(grounds.quotes, policy))
    columns: Columns = {
        **of_executors(known, grounds),
        **of_cards(known, frozenset(policy.scoring.isolating_runtimes)),
        **of_proofs(known.verdicts),
        **of_standings(known, grounds, policy),
    }
    columns |= leased_parts(known.standings, known.cards, columns["card_count"], grounds.leases)
    columns |= of_reasons(known, columns["proved_gb_s"])
    arrays = {name: _array(columns[name], kind) for name, kind in COLUMNS.items()}
    return pd.DataFrame(arrays, copy=False)


def _array(values: Sequence[Any] | np.ndarray, kind: str) -> np.ndarray:
    """A column; `fromiter` takes tuples for what they are, None among numbers becomes NaN."""
    if kind == "object":
        return np.fromiter(values, dtype="object", count=len(values))
    return np.asarray(values, dtype=kind)


def _known(
    executors: Iterable[Executor],
    reports: Iterable[HostReport],
    verdicts: Iterable[Verdict],
    standings: Iterable[Standing],
    market: Market,
) -> Machines:
    by_key = _by_key(executors)
    keys = sorted(by_key)
    its_reports, its_standings = _aligned(reports, keys, NO_REPORT), _aligned(standings, keys, NO_STANDING)
    facts = list(map(attrgetter("facts"), its_reports))
    cards = list(map(attrgetter("cards"), facts))
    return Machines(
        keys=keys,
        executors=list(map(by_key.__getitem__, keys)),
        reports=its_reports,
        facts=facts,
        cards=cards,
        verdicts=_aligned(verdicts, keys, NO_VERDICT),
        standings=its_standings,
        records=list(map(attrgetter("record"), its_standings)),
        rates=list(map(market.rate, cards)),
    )


def _by_key(executors: Iterable[Executor]) -> dict[str, Executor]:
    listed = tuple(executors)
    by_key = {executor.key: executor for executor in listed}
    if len(by_key) != len(listed):
        ((twice, _),) = Counter(executor.key for executor in listed).most_common(1)
        raise ValueError(f"executor {twice!r} is listed more than once")
    return by_key


def _aligned(records: Iterable[K], keys: list[str], missing: K) -> list[K]:
    """The record of each key; records that stand in the order of the keys, as the archive has them, are taken as they are."""
    listed = list(records)
    its_keys = list(map(attrgetter("executor_key"), listed))
    if its_keys == keys:
        return listed
    by_key = dict(zip(its_keys, listed, strict=True))
    return [by_key.get(key, missing) for key in keys]
