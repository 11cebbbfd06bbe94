"""What there is to do, decided before anything is changed: a look at every machine, its plan, and what a place costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from storage.records import HostFacts, Reason
from tasks.edges.registering import Terms
from tasks.errors import OnboardingFailed
from tasks.inspection.models import find
from tasks.onboarding.machine import Machine
from tasks.onboarding.mends import command_for
from tasks.onboarding.preflight import Report
from tasks.onboarding.stages import LOOK
from tasks.onboarding.steps import MachinePlan, PlannedStep, PlanState

MENDED_HERE = frozenset(
    {"PROVER_MISSING", "CONTAINER_RUNTIME_MISSING", "NVIDIA_TOOLKIT_MISSING", "NVIDIA_RUNTIME_MISSING"}
)
"""What the machine's own steps put in place."""
OF_THE_WAY = frozenset({"NETWORK_SPEED_TOO_SLOW"})
"""Of the line between the machine and this computer, which is no validator."""


IN_USE = frozenset({"GPU_USAGE_HIGH", "GPU_FOREIGN_PROCESS", "GPU_VRAM_HELD"})
"""Of cards that may well be a renter's by now, where the machine has had its verdict."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that there is to do."""

    reports: tuple[Report, ...] = ()
    machines: tuple[MachinePlan, ...] = ()
    """Of those that can be brought in."""
    here: tuple[PlannedStep, ...] = ()
    """Steps of the miner's own computer, and of the chain."""
    terms: Terms | None = None
    """None: the chain was not asked, or does not answer."""

    @property
    def is_empty(self) -> bool:
        """Whether everything is done already."""
        steps = [step for machine in self.machines for step in machine.steps] + list(self.here)
        return not any(step.state in (PlanState.TO_DO, PlanState.BLOCKED) for step in steps)

    def of(self, machine: Machine) -> MachinePlan:
        """The machine's own plan."""
        return next(plan for plan in self.machines if plan.machine.label == machine.label)

    def report_of(self, machine: Machine) -> Report:
        """What was seen of it."""
        return next(report for report in self.reports if report.machine.label == machine.label)


def in_the_way(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Of what would keep a machine from being paid: what bringing it in does not mend."""
    return tuple(r for r in reasons if r.decides and r.code not in MENDED_HERE | OF_THE_WAY)


def stopped(report: Report, *, has_verdict: bool = False) -> OnboardingFailed | None:
    """Why this machine can't be brought in; None when it can. One that has been may be in use."""
    found = (r for r in in_the_way(report.reasons) if not (has_verdict and r.code in IN_USE))
    reasons = sorted(found, key=lambda reason: not reason.fails)
    if not reasons:
        return None
    first, more = reasons[0], [reason.code for reason in reasons[1:]]
    why = f"{first.code}: got {first.got}; wanted {first.wanted}"
    why += f" (and {', '.join(more)})" if more else ""
    mend = command_for(first, report.machine) or first.mend
    return OnboardingFailed(LOOK.name, report.machine.label, why, mend)


def own_price(facts: HostFacts) -> float | None:
    """USD an hour of all cards by our list of models, to begin with; None for a model that it does not have."""
    model = find(facts.cards[0].model) if facts.cards else None
    return None if model is None else round(model.base_price_usd_per_hour * len(facts.cards), 4)
