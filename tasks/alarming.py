"""What an operator has to hear of an epoch: pure rules from its outcome, and from how many machines were proved before.

    epoch -> ended, and: weights set | weights in trouble | pass rate fell | a budget exhausted

The names are events of Prefect's; `deployments/automations.py` says which of them, and which that do not come, are told to whom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from storage.records import EpochOutcome, PassRate, WeightStatus

EPOCH_BEGAN = "subnet.epoch.began"
EPOCH_ENDED = "subnet.epoch.ended"
WEIGHTS_SET = "subnet.weights.set"
WEIGHTS_TROUBLE = "subnet.weights.trouble"
PASS_RATE_FELL = "subnet.pass-rate.fell"  # noqa: S105  the name of an event
BUDGET_EXHAUSTED = "subnet.budget.exhausted"

NO_WEIGHTS = frozenset({"NO_VERDICTS", "NO_WEIGHTS", "WEIGHTS_DIFFER"})
"""Incidents of epochs after which the chain does not hold what was meant."""
UNSEEN = "WEIGHTS_UNSEEN"
CHAIN_AWAY = "CHAIN_AWAY"
"""The incident of calls to the chain that had no answer within their deadline."""
OVERRUN = frozenset({"HOST_TIMEOUT", "HOST_LIMIT_EXCEEDED"})
"""Reasons of machines whose session used up its time, its bytes or its packets."""

FEWEST_EPOCHS, FEWEST_MACHINES = 6, 5
"""With less than this behind it, a rate says nothing."""
FALL = 0.2
"""Of the usual rate: a fifth of what is proved otherwise."""
OVERRUN_SHARE = 0.25
"""Of the machines listed: that many at once are our line or our processor, and not theirs."""


@dataclass(frozen=True, slots=True)
class News:
    """One event: what happened, for a human in one sentence and for programs in numbers."""

    event: str
    message: str
    facts: Mapping[str, int | float | str] = field(default_factory=dict)
    about: str = ""
    """What it is about, where one event tells of several things: each is told for itself."""


def news_of(outcome: EpochOutcome, before: Sequence[PassRate]) -> Iterator[News]:
    """All that an archived epoch has to say; `before`: the finished epochs before it, in any order."""
    codes = sorted({incident.code for incident in outcome.incidents})
    told = f", incidents {', '.join(codes)}" if codes else ""
    proved = sum(verdict.proved for verdict in outcome.verdicts)
    yield News(
        EPOCH_ENDED,
        f"epoch {outcome.epoch}: {proved} of {len(outcome.executors)} machines proved{told}",
        {"listed": len(outcome.executors), "proved": proved, "incidents": ",".join(codes)},
    )
    yield from _weights(outcome)
    yield from _pass_rate(outcome, before)
    yield from _budgets(outcome)


def _weights(outcome: EpochOutcome) -> Iterator[News]:
    status = outcome.weight_outcome.status if outcome.weight_outcome else None
    if status in {WeightStatus.CONFIRMED, WeightStatus.COMMITTED, WeightStatus.ALREADY_SET}:
        yield News(WEIGHTS_SET, f"weights of epoch {outcome.epoch}: {status}", {"status": str(status)})
    codes = {incident.code for incident in outcome.incidents} & NO_WEIGHTS
    codes |= {event.kind for event in outcome.events if event.kind == UNSEEN}
    if outcome.weight_outcome and status in {WeightStatus.REFUSED, WeightStatus.UNKNOWN}:
        codes.add(outcome.weight_outcome.code or str(status))
    if codes:
        told = ", ".join(sorted(codes))
        yield News(WEIGHTS_TROUBLE, f"weights of epoch {outcome.epoch}: {told}", {"codes": told}, told)


def _pass_rate(outcome: EpochOutcome, before: Sequence[PassRate]) -> Iterator[News]:
    known = [one.share for one in before if one.listed >= FEWEST_MACHINES]
    now = PassRate(outcome.epoch, len(outcome.executors), sum(verdict.proved for verdict in outcome.verdicts))
    if len(known) < FEWEST_EPOCHS or now.listed < FEWEST_MACHINES:
        return
    usual = median(known)
    if now.share < (1 - FALL) * usual:
        yield News(
            PASS_RATE_FELL,
            f"epoch {outcome.epoch}: {now.share:.0%} of {now.listed} machines proved, usually {usual:.0%}",
            {"share": now.share, "usual": usual},
        )


def _budgets(outcome: EpochOutcome) -> Iterator[News]:
    if any(incident.code == CHAIN_AWAY for incident in outcome.incidents):
        yield News(
            BUDGET_EXHAUSTED,
            f"epoch {outcome.epoch}: the chain had no answer within its deadline",
            {"budget": "chain"},
            "chain",
        )
    late = sum(any(reason.code in OVERRUN for reason in report.reasons) for report in outcome.reports)
    if late >= FEWEST_MACHINES and late > OVERRUN_SHARE * len(outcome.executors):
        yield News(
            BUDGET_EXHAUSTED,
            f"epoch {outcome.epoch}: {late} of {len(outcome.executors)} SSH sessions used up their time or their bytes",
            {"budget": "ssh", "sessions": late},
            "ssh",
        )
