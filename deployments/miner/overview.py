"""A miner's machines at a glance: what its file offers, what validators last told of each, what it earns by that. Pure.

    alpha a day of a machine, by one validator = the miner's weight x the machine's part of its scores x alpha for all miners

A validator that has set no weights, or has no machine of the miner with a score, says nothing of earnings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.edges.wire import MachineResult, Offer, Results, ToldReason
from tasks.offering.config import MinerConfig


@dataclass(frozen=True, slots=True)
class Told:
    """What one validator last told of a machine."""

    validator: str
    epoch: int
    scored_at: datetime
    score: float
    alpha_per_day: float | None
    """By its weights alone; None when it told none."""
    reasons: tuple[ToldReason, ...]

    @property
    def verdict(self) -> str:
        """`paid`, or the code of the first reason that decides."""
        decides = [r for r in self.reasons if r.severity != "warn" and not r.is_shadow]
        if self.score > 0:
            return "paid"
        return decides[0].code if decides else "not paid"


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of the file."""

    offer: Offer
    told: tuple[Told, ...]
    """The newest first."""

    @property
    def alpha_per_day(self) -> float | None:
        """The mean of the validators that told weights; None when none did."""
        known = [one.alpha_per_day for one in self.told if one.alpha_per_day is not None]
        return sum(known) / len(known) if known else None

    @property
    def paid_by(self) -> int:
        """How many of the validators score it."""
        return sum(one.score > 0 for one in self.told)

    def rents(self, now: datetime) -> str:
        """Whether new leases are wanted: `yes`, `until <time>` before a pause begins, `paused`."""
        if self.offer.paused_from is None:
            return "yes"
        begin = datetime.fromtimestamp(self.offer.paused_from, UTC)
        return "paused" if begin <= now else f"until {begin:%Y-%m-%d %H:%M}"

    def reasons(self) -> Iterator[tuple[ToldReason, int]]:
        """Each reason once, as the newest told it, with how many validators told its code."""
        counted = [{r.code for r in one.reasons} for one in self.told]
        seen: set[str] = set()
        for reason in (reason for one in self.told for reason in one.reasons):
            if reason.code not in seen:
                seen.add(reason.code)
                yield reason, sum(reason.code in codes for codes in counted)


def machines(config: MinerConfig, told: Mapping[str, Results], alpha_per_day: float) -> tuple[Machine, ...]:
    """Every machine of the file, in its order; `alpha_per_day` is for all miners of the subnet."""
    return tuple(
        Machine(executor.offer, tuple(_told_of(executor.offer.executor_id, told, alpha_per_day)))
        for executor in config.executors
    )


def _told_of(executor_id: str, told: Mapping[str, Results], alpha_per_day: float) -> Iterator[Told]:
    for validator, results in sorted(told.items(), key=lambda item: (-item[1].scored_at, item[0])):
        found = next((m for m in results.machines if m.executor_id == executor_id), None)
        if found is None:
            continue
        yield Told(
            validator,
            results.epoch,
            datetime.fromtimestamp(results.scored_at, UTC),
            found.score,
            _alpha(found, results.machines, results.weight, alpha_per_day),
            found.reasons,
        )


def _alpha(
    machine: MachineResult, every: Iterable[MachineResult], weight: float | None, alpha_per_day: float
) -> float | None:
    scores = sum(one.score for one in every)
    return None if weight is None or scores <= 0 else weight * machine.score / scores * alpha_per_day
