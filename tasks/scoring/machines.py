"""Records to a frame with a row per machine: everything that any formula looks at, a column at a time.

Rows are in the order of executor_key, whatever the order of the records. `COLUMNS` lists the columns with their units.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd

from storage.records import (
    Card,
    CardProof,
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
    facts: list[HostFacts]
    cards: list[tuple[Card, ...]]
    verdicts: list[Verdict]
    standings: list[Standing]
    records: list[ExecutorRecord]
    rates: list[ModelRate | None]


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
        **_of_executors(known, grounds),
        **_of_cards(known, frozenset(policy.scoring.isolating_runtimes)),
        **_of_proofs(known.verdicts),
        **_of_standings(known, grounds, policy),
    }
    columns |= leased_parts(known.standings, known.cards, columns["card_count"], grounds.leases)
    columns |= _of_reasons(known, columns["proved_gb_s"])
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
) -> _Machines:
    by_key = _by_key(executors)
    keys = sorted(by_key)
    its_reports, its_standings = _aligned(reports, keys, NO_REPORT), _aligned(standings, keys, NO_STANDING)
    facts = list(map(attrgetter("facts"), its_reports))
    cards = list(map(attrgetter("cards"), facts))
    return _Machines(
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


def _of_cards(known: _Machines, isolating: frozenset[str]) -> Columns:
    models = [
        rate.name if rate else cards[0].model if cards else record.model or ""
        for rate, cards, record in zip(known.rates, known.cards, known.records, strict=True)
    ]
    return {
        "model": models,
        "model_number": _numbered(models),
        "card_count": [
            len(cards) or record.card_count or 0
            for cards, record in zip(known.cards, known.records, strict=True)
        ],
        "vram_bytes": [sum(map(_VRAM_MIB, cards)) * MIB for cards in known.cards],
        "rate_usd_per_hour": [rate.usd_per_hour if rate else 0.0 for rate in known.rates],
        "reference_gb_s": [rate.reference_bandwidth_gb_s if rate else UNKNOWN for rate in known.rates],
        "is_seen": list(map(bool, known.cards)),
        "is_isolating": [not isolating.isdisjoint(told.container_runtimes) for told in known.facts],
        "driver_number": [version_number(cards[0].driver) if cards else 0 for cards in known.cards],
        "disk_free_bytes": list(map(attrgetter("disk_free_bytes"), known.facts)),
        "facts": known.facts,
    }


_VRAM_MIB, _GB_S = attrgetter("vram_mib"), attrgetter("bandwidth_gb_s")


def _of_proofs(verdicts: Sequence[Verdict]) -> Columns:
    return {
        "proved_gb_s": _slowest([verdict.cards if verdict.proved else () for verdict in verdicts]),
        "unproven": [
            bool(verdict.reasons) and any(reason.code == MODEL_UNPROVEN for reason in verdict.reasons)
            for verdict in verdicts
        ],
    }


def _slowest(proofs: Sequence[tuple[CardProof, ...]]) -> np.ndarray:
    """The least figure of each machine's proved cards; NaN where there is none, or where one is no positive number."""
    counts = np.fromiter(map(len, proofs), "int64", len(proofs))
    figures = np.fromiter(map(_GB_S, chain.from_iterable(proofs)), "float64", int(counts.sum()))
    figures[~(np.isfinite(figures) & (figures > 0.0))] = UNKNOWN
    slowest, has_cards = np.full(len(proofs), UNKNOWN), counts > 0
    if len(figures):
        starts = (np.cumsum(counts) - counts)[has_cards]
        slowest[has_cards] = np.minimum.reduceat(figures, starts)
    return slowest


def _of_standings(known: _Machines, grounds: Grounds, policy: Policy) -> Columns:
    samples = list(map(attrgetter("bandwidth"), known.reports))
    weight, now = policy.inspection.bandwidth_smoothing, grounds.scored_at
    up, down = (list(map(attrgetter(name), known.records)) for name in ("up_mbit_s", "down_mbit_s"))
    return {
        "up_mbit_s": _smoothed(up, [sample and sample.up_mbit_s for sample in samples], weight),
        "down_mbit_s": _smoothed(down, [sample and sample.down_mbit_s for sample in samples], weight),
        "passing_s": [
            (now - since).total_seconds() if since else UNKNOWN
            for since in map(attrgetter("passed_since"), known.records)
        ],
        "deposited_rao": list(map(attrgetter("deposited_rao"), known.standings)),
        "is_leased": list(map(attrgetter("is_leased"), known.standings)),
    }


def _smoothed(known: Sequence[float | None], newest: Sequence[float | None], weight: float) -> np.ndarray:
    """As `tasks.inspection.checks.smooth`: over the epochs with this one; NaN when never measured."""
    before, sample = np.array(known, dtype="float64"), np.array(newest, dtype="float64")
    smoothed = weight * sample + (1.0 - weight) * before
    return np.where(np.isnan(sample), before, np.where(np.isnan(before), sample, smoothed))


def _of_reasons(known: _Machines, proved_gb_s: Sequence[Any] | np.ndarray) -> Columns:
    has_figure = (~np.isnan(proved_gb_s)).tolist()
    reasons = list(map(_reasons, known.reports, known.verdicts, known.standings, known.rates, has_figure))
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
    has_figure: bool,  # noqa: FBT001  mapped over columns
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
    return said if has_figure else (*said, NO_FIGURE)
