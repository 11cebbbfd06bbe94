"""Records to a frame with a row per machine, and scored rows back to records.

Columns: executor_key, miner_hotkey, miner_uid, model, card_count, vram_bytes, rate_usd_per_hour, reference_gb_s,
proved_gb_s (slowest card), up_mbit_s, down_mbit_s (smoothed), passed_since, locked_rao, passed, is_leased, unproven (the
model has too little history), reasons. Rows are in the order of executor_key, whatever the order of the records.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

import pandas as pd

from storage.records import (
    Bandwidth,
    Card,
    Executor,
    ExecutorRecord,
    Grounds,
    HostFacts,
    HostReport,
    Reason,
    Score,
    Severity,
    Standing,
    Verdict,
)
from tasks.inspection.checks import smooth
from tasks.inspection.checks.bans import banned_pay
from tasks.policy import MIB, Policy
from tasks.proof.reasons import MODEL_UNPROVEN
from tasks.scoring.rates import ModelRate, market_rate

UNKNOWN = math.nan


class Known(NamedTuple):
    """Everything that is known of one machine in this epoch."""

    executor: Executor
    report: HostReport
    verdict: Verdict
    standing: Standing
    rate: ModelRate | None
    proved_gb_s: float
    """Of the slowest card; NaN when the machine is not proved or a figure is none."""
    reasons: tuple[Reason, ...]

    @property
    def record(self) -> ExecutorRecord:
        """What earlier epochs know of it."""
        return self.standing.record


NO_REPORT = HostReport("", HostFacts(), (), None, (), 0.0, 0.0)
NO_VERDICT = Verdict("", "", Severity.NO_VERDICT, (), (), b"", 0)
NO_STANDING = Standing("", ExecutorRecord(""), is_leased=False, deposited_rao=0)


def machines_frame(
    executors: Iterable[Executor],
    reports: Iterable[HostReport],
    verdicts: Iterable[Verdict],
    grounds: Grounds,
    policy: Policy,
) -> pd.DataFrame:
    """A row per executor. ValueError when two have one key."""
    by_key = _by_key(executors)
    known = _known(by_key, reports, verdicts, grounds, policy)
    locked_rao = {neuron.hotkey: neuron.collateral_locked_rao or 0 for neuron in grounds.neurons}
    up, down = _smoothed(known, policy.inspection.bandwidth_smoothing)
    columns: dict[str, tuple[str, Iterable[object]]] = {
        "executor_key": ("str", by_key),
        "miner_hotkey": ("str", [k.executor.miner_hotkey for k in known]),
        "miner_uid": ("int64", [k.executor.miner_uid for k in known]),
        "model": ("str", [_model_name(k) for k in known]),
        "card_count": ("int64", [len(k.report.facts.cards) or k.record.card_count or 0 for k in known]),
        "vram_bytes": ("int64", [_vram_bytes(k.report.facts.cards) for k in known]),
        "rate_usd_per_hour": ("float64", [k.rate.usd_per_hour if k.rate else 0.0 for k in known]),
        "reference_gb_s": (
            "float64",
            [k.rate.reference_bandwidth_gb_s if k.rate else UNKNOWN for k in known],
        ),
        "proved_gb_s": ("float64", [k.proved_gb_s for k in known]),
        "up_mbit_s": ("float64", up),
        "down_mbit_s": ("float64", down),
        "passed_since": ("datetime64[us, UTC]", [k.record.passed_since for k in known]),
        "locked_rao": ("int64", [locked_rao.get(k.executor.miner_hotkey, 0) for k in known]),
        "passed": ("float64", [float(not _blocked(k.reasons)) for k in known]),
        "is_leased": ("bool", [k.standing.is_leased for k in known]),
        "unproven": ("bool", [_is_unproven(k.verdict) for k in known]),
        "reasons": ("object", [k.reasons for k in known]),
    }
    return pd.DataFrame(
        {name: pd.Series(list(values), dtype=kind) for name, (kind, values) in columns.items()}
    )


def scores_of(scored: pd.DataFrame) -> tuple[Score, ...]:
    """The records of scored rows, in their order."""
    names = [name for name in Score.__dataclass_fields__ if name in scored.columns]
    columns = [scored[name].tolist() for name in names]
    return tuple(Score(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))


def _by_key(executors: Iterable[Executor]) -> dict[str, Executor]:
    """The executors by key, in the order of the keys."""
    keyed = sorted(((executor.key, executor) for executor in executors), key=itemgetter(0))
    by_key = dict(keyed)
    if len(by_key) != len(keyed):
        twice = next(a for (a, _), (b, _) in pairwise(keyed) if a == b)
        raise ValueError(f"executor {twice!r} is listed more than once")
    return by_key


def _known(
    by_key: Mapping[str, Executor],
    reports: Iterable[HostReport],
    verdicts: Iterable[Verdict],
    grounds: Grounds,
    policy: Policy,
) -> list[Known]:
    reports_by_key = {report.executor_key: report for report in reports}
    verdicts_by_key = {verdict.executor_key: verdict for verdict in verdicts}
    standings = {standing.executor_key: standing for standing in grounds.standings}
    rate_of = _Rates(policy)
    known = []
    for key, executor in by_key.items():
        report, verdict = reports_by_key.get(key, NO_REPORT), verdicts_by_key.get(key, NO_VERDICT)
        rate, proved_gb_s = rate_of(report.facts.cards), _slowest(verdict)
        standing = standings.get(key, NO_STANDING)
        reasons = _reasons(report, verdict, rate, proved_gb_s)
        if standing.ban_code:
            reasons = (*reasons, banned_pay(standing.ban_code))
        known.append(Known(executor, report, verdict, standing, rate, proved_gb_s, reasons))
    return known


class _Rates:
    """Market rates, looked up once for each model and size of an epoch."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._overrides = dict(policy.scoring.rates_usd_per_hour)
        self._known: dict[tuple[str, int], ModelRate | None] = {}

    def __call__(self, cards: Sequence[Card]) -> ModelRate | None:
        """The rate of a machine's cards: they are of one model where the machine may be paid."""
        if not cards:
            return None
        key = (cards[0].model, cards[0].vram_mib)
        if key not in self._known:
            self._known[key] = market_rate(cards[0], self._policy, self._overrides)
        return self._known[key]


def _slowest(verdict: Verdict) -> float:
    if not verdict.proved or not verdict.cards:
        return UNKNOWN
    figures = [card.bandwidth_gb_s for card in verdict.cards]
    return min(figures) if min(figures) > 0.0 and math.isfinite(sum(figures)) else UNKNOWN


def _smoothed(known: Iterable[Known], weight: float) -> tuple[list[float], list[float]]:
    """Up and down in Mbit/s over the epochs with this one; NaN when never measured."""
    pairs = [_smoothed_pair(k.report.bandwidth, k.record, weight) for k in known]
    return [up for up, _ in pairs], [down for _, down in pairs]


def _smoothed_pair(sample: Bandwidth | None, record: ExecutorRecord, weight: float) -> tuple[float, float]:
    up, down = record.up_mbit_s, record.down_mbit_s
    if sample is not None:
        up, down = smooth(up, sample.up_mbit_s, weight), smooth(down, sample.down_mbit_s, weight)
    return (UNKNOWN if up is None else up, UNKNOWN if down is None else down)


def _model_name(known: Known) -> str:
    if known.rate:
        return known.rate.name
    cards = known.report.facts.cards
    return cards[0].model if cards else known.record.model or ""


def _vram_bytes(cards: Iterable[Card]) -> int:
    return sum([card.vram_mib for card in cards]) * MIB


def _is_unproven(verdict: Verdict) -> bool:
    return any(reason.code == MODEL_UNPROVEN for reason in verdict.reasons)


def _blocked(reasons: tuple[Reason, ...]) -> bool:
    return bool(reasons) and any(reason.decides for reason in reasons)


def _reasons(
    report: HostReport, verdict: Verdict, rate: ModelRate | None, proved_gb_s: float
) -> tuple[Reason, ...]:
    """Every reason that inspection and proof gave; where they let a machine fail silently, one that says it."""
    said = report.reasons + verdict.reasons
    if _blocked(said):
        return said
    if report is NO_REPORT:
        return (*said, _NOT_INSPECTED)
    if not verdict.proved:
        return (*said, _NOT_PROVED)
    if rate is None:
        return (*said, _NO_RATE)
    return (*said, _NO_FIGURE) if math.isnan(proved_gb_s) else said


_NOT_INSPECTED = Reason(
    "NOT_INSPECTED",
    Severity.NO_VERDICT,
    "no report of this epoch",
    "an inspected machine",
    "Nothing to do: the validator did not get to this machine.",
)
_NOT_PROVED = Reason(
    "NOT_PROVED",
    Severity.NO_VERDICT,
    "no proof of this epoch",
    "every card proved",
    "Nothing to do: the validator did not get to prove this machine.",
)
_NO_RATE = Reason(
    "MODEL_WITHOUT_RATE",
    Severity.FAIL,
    "a model that is not in the table of models",
    "a model with a market rate",
    "List cards of a supported model.",
)
_NO_FIGURE = Reason(
    "PROOF_WITHOUT_FIGURE",
    Severity.NO_VERDICT,
    "a proof whose bandwidth is no positive number",
    "a measured bandwidth for every card",
    "Nothing to do: the validator's measurement failed.",
)
