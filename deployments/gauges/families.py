"""The figures: names, labels and units, from what was read of the state. Pure.

families_of(Figures) -> metric families       every name begins with subnet_, every unit is in the name
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from deployments.gauges.archive import Archived
from deployments.marketplace.affairs import Overview
from deployments.marketplace.board import Look
from storage.records import EpochState, EpochSummary
from storage.running import Totals

QUANTILES = (0.5, 0.95)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the state was at one moment."""

    look: Look
    overview: Overview
    reasons: Mapping[tuple[str, str], int]
    """(code, severity): machines of the last finished epoch that have it."""
    steps: Mapping[str, Sequence[float]]
    """Seconds of each step of renting that was done in the last hour."""
    money: Totals
    """The ledger's sums."""
    micro_usd_per_hour: int
    """What all active leases pay together."""
    archived: Archived | None
    """None: there is no archive, or nothing in it."""


def families_of(figures: Figures) -> Iterator[Metric]:
    """All of them; what is not known has no sample."""
    yield from _epochs(figures)
    if figures.archived is not None:
        yield from _checks(figures.archived)
        yield from _steps(figures.archived)
        yield from _zeros(figures.archived)
    yield from _chain(figures)
    yield from _market(figures)
    yield from _money(figures)


# --- epochs ------------------------------------------------------------------------------------------


def _epochs(figures: Figures) -> Iterator[Metric]:
    newest, done = figures.look.newest, finished(figures.look)
    number, begun = (newest.header.epoch, _moment(newest.header.started_at)) if newest else (None, None)
    listed, paid = (done.executors, done.paid) if done else (None, None)
    yield _one("subnet_epoch", "Number of the newest epoch", number)
    yield _one("subnet_epoch_started_timestamp_seconds", "When the newest epoch began", begun)
    lasted = _lasted_s(done) if done else None
    yield _one("subnet_epoch_seconds", "Duration of the last finished epoch", lasted)
    yield _one("subnet_machines_listed", "Machines listed in the last finished epoch", listed)
    yield _one("subnet_machines_paid", "Machines paid in the last finished epoch", paid)
    yield _many(
        "subnet_machines_with_reason",
        "Machines of the last finished epoch that have this reason",
        ("code", "severity"),
        figures.reasons.items(),
    )
    yield _many(
        "subnet_phase_seconds",
        "Duration of a phase of the newest epoch",
        ("phase",),
        {
            (one.name,): (one.finished_at - one.started_at).total_seconds()
            for one in figures.look.phases
            if one.finished_at is not None
        }.items(),
    )

    for name, what in (("done", "Pieces of work done"), ("total", "Pieces of work in all")):
        yield _many(
            f"subnet_phase_{name}",
            f"{what} in a phase of the newest epoch",
            ("phase",),
            [((one.name,), getattr(one, name)) for one in figures.look.phases],
        )


def finished(look: Look) -> EpochSummary | None:
    """The newest epoch that is over."""
    return next((one for one in look.epochs if one.state is not EpochState.OPEN), None)


def _lasted_s(epoch: EpochSummary) -> float | None:
    if epoch.finished_at is None:
        return None
    return (epoch.finished_at - epoch.header.started_at).total_seconds()


# --- what the archive tells ------------------------------------------------------------------------


def _checks(archived: Archived) -> Iterator[Metric]:
    yield _one("subnet_archived_epoch", "Number of the newest archived epoch", archived.epoch)
    yield _one(
        "subnet_archived_unread", "Archived epochs of the last day that can't be read", archived.unread
    )
    checked = [((stage,), count) for stage, count in archived.checked.items()]
    yield _many(
        "subnet_checked",
        "Machines (at discovery: miners) that were checked in the newest archived epoch",
        ("stage",),
        checked,
    )
    passed = {
        key: 1 - count / archived.checked[key[0]]
        for key, count in archived.stopped.items()
        if archived.checked.get(key[0])
    }
    yield _many(
        "subnet_check_pass_ratio",
        "Share of the checked that a code did not keep from pay; codes that were found within the last day",
        ("stage", "code"),
        passed.items(),
    )


def _steps(archived: Archived) -> Iterator[Metric]:
    rows = {tuple(str(step).split(": ", 1)): row for step, row in archived.steps.iterrows()}
    quantiles = {
        (*step, quantile): row[column]
        for step, row in rows.items()
        for quantile, column in (("0.5", "median"), ("0.95", "p95"))
    }
    yield _many(
        "subnet_step_seconds",
        "Duration of a step of inspection or proof, over the machines of the newest archived epoch",
        ("stage", "step", "quantile"),
        quantiles.items(),
    )
    yield _many(
        "subnet_step_spent_seconds",
        "What a step cost: seconds that all machines of the newest archived epoch spent in it together",
        ("stage", "step"),
        [(step, row["seconds"]) for step, row in rows.items()],
    )
    received = archived.received_bytes
    yield _one("subnet_proof_received_bytes", "From all machines, during the proofs of that epoch", received)


def _zeros(archived: Archived) -> Iterator[Metric]:
    yield _one(
        "subnet_judged_machine_epochs",
        "Machine-epochs of the last 144 epochs between two in which the machine passed, unchanged",
        archived.judged,
    )
    yield _many(
        "subnet_judged_unpaid",
        "Those of them without a pass: not paid (false zero), or paid by grace (forgiven)",
        ("code", "effect"),
        archived.zeros.items(),
    )
    ratio = archived.false_zero_ratio
    yield _one(
        "subnet_false_zero_ratio", "Share of them that was not paid: the most that we got wrong", ratio
    )


# --- chain -------------------------------------------------------------------------------------------


def _chain(figures: Figures) -> Iterator[Metric]:
    chain = figures.overview.chain
    block, landed, neuron = (chain.block, chain.set_epoch, chain.neuron) if chain else (None, None, None)
    stake, permit = (neuron.stake_rao / 1e9, float(neuron.has_permit)) if neuron else (None, None)
    yield _one("subnet_chain_block", "Block that the newest epoch pinned", block)
    yield _one("subnet_stake_tao", "The validator's stake", stake)
    yield _one("subnet_validator_permit", "1: the validator may set weights", permit)
    yield _one("subnet_weights_epoch", "The newest epoch whose weights the chain has", landed)
    status = chain.status.value if chain and chain.status else None
    yield _many(
        "subnet_weights_status",
        "1 for what became of the newest weights",
        ("status",),
        [((status,), 1.0)] if status else (),
    )


# --- market ------------------------------------------------------------------------------------------


def _market(figures: Figures) -> Iterator[Metric]:
    overview = figures.overview
    going_on = Counter((one.code,) for one in overview.troubles if one.is_on)
    yield _many("subnet_troubles", "Incidents that go on now", ("code",), going_on.items())
    waiting = {(one.what,): one.count for one in overview.waiting}
    yield _many("subnet_waiting", "What waits or is at work", ("what",), waiting.items())
    oldest = {(one.what,): _moment(one.oldest_at) for one in overview.waiting if one.oldest_at is not None}
    yield _many(
        "subnet_waiting_since_timestamp_seconds", "Since when the oldest waits", ("what",), oldest.items()
    )
    leases = [((state,), count) for state, count in overview.leases]
    yield _many("subnet_leases", "Open leases by their state", ("state",), leases)
    quantiles = {
        (step, f"{share:g}"): float(np.quantile(seconds, share))
        for step, seconds in figures.steps.items()
        for share in QUANTILES
    }
    yield _many(
        "subnet_lease_step_seconds",
        "Duration of a step of renting, over those done in the last hour",
        ("step", "quantile"),
        quantiles.items(),
    )
    counts = [((step,), len(seconds)) for step, seconds in figures.steps.items()]
    yield _many("subnet_lease_steps", "Steps of renting done in the last hour", ("step",), counts)


def _money(figures: Figures) -> Iterator[Metric]:
    held = {(kind,): micro_usd / 1e6 for kind, micro_usd in figures.money.held.items()}
    yield _many(
        "subnet_money_usd", "What accounts of a kind have together; all kinds are 0", ("kind",), held.items()
    )
    moved = CounterMetricFamily(
        "subnet_moved_usd", "What transfers of a kind have moved since the ledger began", labels=("kind",)
    )
    for kind, micro_usd in sorted(figures.money.moved.items()):
        moved.add_metric([kind], micro_usd / 1e6)
    yield moved
    hourly = figures.micro_usd_per_hour / 1e6
    yield _one("subnet_leases_usd_per_hour", "What all active leases pay together", hourly)


# --- families ----------------------------------------------------------------------------------------


def _one(name: str, about: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(name, about)
    if value is not None:
        family.add_metric([], float(value))
    return family


def _many(
    name: str, about: str, labels: Sequence[str], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for key, value in sorted(values):
        family.add_metric(list(key), float(value))
    return family


def _moment(at: datetime) -> float:
    return at.timestamp()
