"""What is known of machines, a column at a time: lists and arrays in the order of the machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

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
from tasks.scoring.market import ModelRate
from tasks.scoring.reasons import NO_FIGURE, NO_RATE, NOT_INSPECTED, NOT_PROVED
from tasks.scoring.versions import version_number

UNKNOWN = math.nan
LATE_CHECKS = frozenset({"GPU_USAGE_HIGH", "GPU_FOREIGN_PROCESS", "GPU_VRAM_HELD"})
"""Who fails only these, or the proof, still counts among the cards of its model."""
NO_REPORT = HostReport("", HostFacts(), (), None, (), 0.0, 0.0)
NO_VERDICT = Verdict("", "", Severity.NO_VERDICT, (), (), b"", 0)
NO_STANDING = Standing("", ExecutorRecord(""), is_leased=False, deposited_rao=0)

Columns = dict[str, Sequence[Any] | np.ndarray]


class Machines(NamedTuple):
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


def of_executors(known: Machines, grounds: Grounds) -> Columns:
    """Who offers each machine, for how much, and what the miner has locked."""
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


def of_cards(known: Machines, isolating: frozenset[str]) -> Columns:
    """What each machine says it is; the cards of one that was not reached are those of its record."""
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


def of_proofs(verdicts: Sequence[Verdict]) -> Columns:
    """What is proved of each machine."""
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


def of_standings(known: Machines, grounds: Grounds, policy: Policy) -> Columns:
    """What is known of each machine beside this epoch."""
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


def of_reasons(known: Machines, proved_gb_s: Sequence[Any] | np.ndarray) -> Columns:
    """Whether each machine may be paid, and all that speaks against it."""
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
