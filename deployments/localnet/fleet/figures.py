"""What an epoch over a fleet took, as figures: phases, percentiles of each step, outcomes. Pure."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from storage.records import EpochOutcome, HostReport, Verdict

NOT_VISITED, NOT_TRIED = "NOT_VISITED", "NOT_TRIED"


@dataclass(frozen=True, slots=True)
class PhaseFigure:
    """One phase of the epoch."""

    name: str
    done: int
    total: int
    wall_s: float
    note: str


@dataclass(frozen=True, slots=True)
class StepFigure:
    """How long one step took on the machines that came to its end, in seconds."""

    name: str
    count: int
    p50_s: float
    p95_s: float
    p99_s: float
    most_s: float


def phases_of(outcome: EpochOutcome) -> tuple[PhaseFigure, ...]:
    """The phases in their order; one that has not ended took until the epoch's end."""
    return tuple(
        PhaseFigure(
            phase.name,
            phase.done,
            phase.total,
            ((phase.finished_at or outcome.finished_at) - phase.started_at).total_seconds(),
            phase.note,
        )
        for phase in outcome.phases
    )


def steps_of(outcome: EpochOutcome, transcripts: Iterable[tuple[str, bytes]]) -> tuple[StepFigure, ...]:
    """Percentiles of every step that any record tells of, in the order in which a machine goes through them.

    The parts of the proof are read out of the transcripts where no verdict tells of them itself.
    """
    told: dict[str, list[float]] = {}
    verdicts = [tuple(_archived(verdict, "proof")) for verdict in outcome.verdicts]
    proofs = verdicts if any(verdicts) else (_of_transcript(content) for _, content in transcripts if content)
    for source in (*map(_of_report, outcome.reports), *proofs):
        for name, seconds in source:
            told.setdefault(name, []).append(seconds)
    return tuple(_figure(name, seconds) for name, seconds in told.items())


def outcomes_of(outcome: EpochOutcome) -> Mapping[str, int]:
    """How many machines came to each end: PROVED, the code that decided, or that nobody came so far."""
    reports = {r.executor_key: r for r in outcome.reports}
    verdicts = {v.executor_key: v for v in outcome.verdicts}
    ends = Counter(_end(reports.get(e.key), verdicts.get(e.key)) for e in outcome.executors)
    return dict(sorted(ends.items(), key=lambda item: (-item[1], item[0])))


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that so great a share of them does not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def _figure(name: str, seconds: Sequence[float]) -> StepFigure:
    at = (percentile(seconds, share) for share in (0.50, 0.95, 0.99, 1.0))
    return StepFigure(name, len(seconds), *at)


def _end(report: HostReport | None, verdict: Verdict | None) -> str:
    if report is None:
        return NOT_VISITED
    decided = sorted((r for r in report.reasons if r.decides), key=lambda r: not r.fails)
    if decided:
        return decided[0].code
    return NOT_TRIED if verdict is None else verdict.code


def _archived(record: object, where: str) -> Iterator[tuple[str, float]]:
    """The steps that a record keeps itself, each with a name and seconds; none in records of before."""
    for step in getattr(record, "steps", ()):
        yield f"{where}: {step.name}", step.seconds


def _of_report(report: HostReport) -> Iterator[tuple[str, float]]:
    yield from _archived(report, "visit")
    if not report.facts.cards:
        return  # it did not come so far: its time is that of whatever failed
    yield "connect and login", report.connect_s
    if report.bandwidth is not None and report.bandwidth.rtt_ms is not None:
        yield "round trip", report.bandwidth.rtt_ms / 1e3
    yield "facts and bandwidth", report.duration_s - report.connect_s
    yield "whole visit", report.duration_s


def _of_transcript(content: bytes) -> Iterator[tuple[str, float]]:
    """The parts of the proof by our own instants, from what the archive has of a conversation."""
    reply = json.loads(content).get("reply")
    if not reply:
        return
    yield "proof: fill", reply["ready_s"]
    for number, walk in enumerate(reply["rounds"], 1):
        yield f"proof: walk {number}", walk["received_s"] - walk["sent_s"]
    product = reply["product"]
    yield "proof: product", product["received_s"] - product["sent_s"]
    yield "proof: from product to opened", reply["opened_s"] - product["received_s"]
    yield "proof: whole", reply["opened_s"]
