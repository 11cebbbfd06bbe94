"""Records to a frame with a row per machine: everything that any formula looks at, a column at a time.

Rows are in the order of executor_key, whatever the order of the records. `COLUMNS` lists the columns with their units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd

from storage.records import (
    Card,
    Executor,
    ExecutorRecord,
    Grounds,
    HostFacts,
    HostReport,
    Reason,
    Severity,
    Standing,
    Verdict,
)
from tasks.inspection.checks.bans import banned_pay
from tasks.policy import MIB, Policy
from tasks.proof.reasons import MODEL_UNPROVEN
from tasks.scoring.leased import leased_parts
from tasks.scoring.market import Market, ModelRate
from tasks.scoring.reasons import NO_FIGURE, NO_RATE, NOT_INSPECTED, NOT_PROVED
from tasks.scoring.versions import version_number

UNKNOWN = math.nan
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
LATE_CHECKS = frozenset({"GPU_USAGE_HIGH", "GPU_FOREIGN_PROCESS", "GPU_VRAM_HELD"})
"""Who fails only these, or the proof, still counts among the cards of its model."""
NO_REPORT = HostReport("", HostFacts(), (), None, (), 0.0, 0.0)
NO_VERDICT = Verdict("", "", Severity.NO_VERDICT, (), (), b"", 0)
NO_STANDING = Standing("", ExecutorRecord(""), is_leased=False, deposited_rao=0)

Columns = dict[str, Sequence[Any] | np.ndarray]


class _Keyed(Protocol):
    @property
    def executor_key(self) -> str: ...


K = TypeVar("K", bound=_Keyed)


class _Machines(NamedTuple):
    """What is known of each machine, in the order of the keys."""

    keys: list[str]
    executors: list[Executor]
    reports: list[HostReport]
    verdicts: list[Verdict]
    standings: list[Standing]


def machines_frame(
    executors: Iterable[Executor],
    reports: Iterable[HostReport],
    verdicts: Iterable[Verdict],
    grounds: Grounds,
    policy: Policy,
) -> pd.DataFrame:
    """A row per executor. ValueError when two have one key."""
    known = _known(executors, reports, verdicts, grounds.standings)
    market = Market(grounds.quotes, policy)
    rates = list(map(market.rate, map(attrgetter("facts.cards"), known.reports)))
    columns = {
        **_of_executors(known, grounds),
        **_of_cards(known, rates, policy),
        **_of_proofs(known.verdicts),
        **_of_standings(known, grounds, policy),
    }
    columns |= leased_parts(known.standings, known.reports, columns["card_count"], grounds.leases)
    columns |= _of_reasons(known, rates, columns["proved_gb_s"])
    return pd.DataFrame({name: _array(columns[name], kind) for name, kind in COLUMNS.items()})


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
) -> _Machines:
    keyed = sorted(((executor.key, executor) for executor in executors), key=itemgetter(0))
    keys = [key for key, _ in keyed]
    twice = next((a for a, b in pairwise(keys) if a == b), None)
    if twice is not None:
        raise ValueError(f"executor {twice!r} is listed more than once")
    return _Machines(
        keys,
        [executor for _, executor in keyed],
        _aligned(reports, keys, NO_REPORT),
        _aligned(verdicts, keys, NO_VERDICT),
        _aligned(standings, keys, NO_STANDING),
    )


def _aligned(records: Iterable[K], keys: Iterable[str], missing: K) -> list[K]:
    listed = tuple(records)
    by_key = dict(zip(map(attrgetter("executor_key"), listed), listed, strict=True))
    return [by_key.get(key, missing) for key in keys]


def _of_executors(known: _Machines, grounds: Grounds) -> Columns:
    hotkeys = list(map(attrgetter("miner_hotkey"), known.executors))
    locked_rao = {neuron.hotkey: neuron.collateral_locked_rao or 0 for neuron in grounds.neurons}
    return {
        "executor_key": known.keys,
        "miner_hotkey": hotkeys,
        "miner_uid": list(map(attrgetter("miner_uid"), known.executors)),
        "miner": _numbered(hotkeys),
        "price_usd_per_hour": list(map(attrgetter("price_usd_per_hour"), known.executors)),
        "locked_rao": [locked_rao.get(hotkey, 0) for hotkey in hotkeys],
    }


def _numbered(names: Sequence[str]) -> list[int]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return list(map(numbers.__getitem__, names))


def _of_cards(known: _Machines, rates: Sequence[ModelRate | None], policy: Policy) -> Columns:
    facts = list(map(attrgetter("facts"), known.reports))
    cards: list[tuple[Card, ...]] = list(map(attrgetter("cards"), facts))
    isolating, vram_mib = frozenset(policy.scoring.isolating_runtimes), attrgetter("vram_mib")
    models = [
        rate.name if rate else listed[0].model if listed else standing.record.model or ""
        for rate, listed, standing in zip(rates, cards, known.standings, strict=True)
    ]
    return {
        "model": models,
        "model_number": _numbered(models),
        "card_count": [
            len(listed) or standing.record.card_count or 0
            for listed, standing in zip(cards, known.standings, strict=True)
        ],
        "vram_bytes": [sum(map(vram_mib, listed)) * MIB for listed in cards],
        "rate_usd_per_hour": [rate.usd_per_hour if rate else 0.0 for rate in rates],
        "reference_gb_s": [rate.reference_bandwidth_gb_s if rate else UNKNOWN for rate in rates],
        "is_seen": list(map(bool, cards)),
        "is_isolating": [not isolating.isdisjoint(told.container_runtimes) for told in facts],
        "driver_number": [version_number(listed[0].driver) if listed else 0 for listed in cards],
        "disk_free_bytes": list(map(attrgetter("disk_free_bytes"), facts)),
        "facts": facts,
    }


def _of_proofs(verdicts: Sequence[Verdict]) -> Columns:
    return {
        "proved_gb_s": [_slowest(verdict) for verdict in verdicts],
        "unproven": [
            bool(verdict.reasons) and any(reason.code == MODEL_UNPROVEN for reason in verdict.reasons)
            for verdict in verdicts
        ],
    }


_GB_S = attrgetter("bandwidth_gb_s")


def _slowest(verdict: Verdict) -> float:
    if not verdict.proved or not verdict.cards:
        return UNKNOWN
    figures = list(map(_GB_S, verdict.cards))
    slowest: float = min(figures)
    return slowest if slowest > 0.0 and math.isfinite(sum(figures)) else UNKNOWN


def _of_standings(known: _Machines, grounds: Grounds, policy: Policy) -> Columns:
    records: list[ExecutorRecord] = list(map(attrgetter("record"), known.standings))
    samples = list(map(attrgetter("bandwidth"), known.reports))
    weight, now = policy.inspection.bandwidth_smoothing, grounds.scored_at
    up = _smoothed([r.up_mbit_s for r in records], [s and s.up_mbit_s for s in samples], weight)
    down = _smoothed([r.down_mbit_s for r in records], [s and s.down_mbit_s for s in samples], weight)
    return {
        "up_mbit_s": up,
        "down_mbit_s": down,
        "passing_s": [
            (now - record.passed_since).total_seconds() if record.passed_since else UNKNOWN
            for record in records
        ],
        "deposited_rao": list(map(attrgetter("deposited_rao"), known.standings)),
        "is_leased": list(map(attrgetter("is_leased"), known.standings)),
    }


def _smoothed(known: Sequence[float | None], newest: Sequence[float | None], weight: float) -> np.ndarray:
    """As `tasks.inspection.checks.smooth`: over the epochs with this one; NaN when never measured."""
    before, sample = np.array(known, dtype="float64"), np.array(newest, dtype="float64")
    smoothed = weight * sample + (1.0 - weight) * before
    return np.where(np.isnan(sample), before, np.where(np.isnan(before), sample, smoothed))


def _of_reasons(
    known: _Machines, rates: Sequence[ModelRate | None], proved_gb_s: Sequence[Any] | np.ndarray
) -> Columns:
    reasons = list(map(_reasons, known.reports, known.verdicts, known.standings, rates, proved_gb_s))
    blocked = list(map(_blocked, reasons))
    return {
        "reasons": reasons,
        "passed": np.logical_not(np.array(blocked, dtype="bool")),
        "is_counted": [
            not is_blocked or _is_counted(report, verdict)
            for is_blocked, report, verdict in zip(blocked, known.reports, known.verdicts, strict=True)
        ],
        "is_failed": [
            is_blocked and any(reason.fails for reason in told)
            for is_blocked, told in zip(blocked, reasons, strict=True)
        ],
    }


def _blocked(reasons: tuple[Reason, ...]) -> bool:
    return bool(reasons) and any(reason.decides for reason in reasons)


def _is_counted(report: HostReport, verdict: Verdict) -> bool:
    """Whether a machine that did not pass was inspected well, and failed only then."""
    if any(reason.decides and reason.code not in LATE_CHECKS for reason in report.reasons):
        return False
    return any(reason.fails for reason in (*report.reasons, *verdict.reasons))


def _reasons(
    report: HostReport,
    verdict: Verdict,
    standing: Standing,
    rate: ModelRate | None,
    proved_gb_s: float,
) -> tuple[Reason, ...]:
    """Every reason that inspection and proof gave and a ban gives; where there is none that decides, what is missing."""
    said = report.reasons + verdict.reasons
    if standing.ban_code:
        said = (*said, banned_pay(standing.ban_code))
    if _blocked(said):
        return said
    if report is NO_REPORT:
        return (*said, NOT_INSPECTED)
    if not verdict.proved:
        return (*said, NOT_PROVED)
    if rate is None:
        return (*said, NO_RATE)
    return (*said, NO_FIGURE) if math.isnan(proved_gb_s) else said
