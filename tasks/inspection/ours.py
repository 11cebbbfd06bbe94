"""What is no machine's doing: epochs that did not come to it, and faults on the validator's own side."""

from __future__ import annotations

from storage.records import Executor, HostFacts, HostReport, Reason, Severity

CARRIED_OVER, VALIDATOR_FAILED = "CARRIED_OVER", "VALIDATOR_FAILED"
OURS = frozenset({CARRIED_OVER, VALIDATOR_FAILED})
"""Codes of what is no machine's doing: its record stays as it is."""


def is_ours(report: HostReport) -> bool:
    """Whether the epoch found out nothing of the machine, by no doing of its own."""
    return any(reason.code in OURS for reason in report.reasons)


def unvisited(executor: Executor, why: Reason) -> HostReport:
    """The report of a machine that was not visited."""
    return HostReport(executor.key, HostFacts(), (), None, (why,), 0.0, 0.0)


def carried_over(executor: Executor) -> HostReport:
    """The report of a machine that this epoch had no time for: it is among the first of the next."""
    return unvisited(
        executor,
        Reason(
            CARRIED_OVER,
            Severity.NO_VERDICT,
            "no turn before the phase was over",
            "a visit in this epoch",
            "Nothing to do: the machine is among the first of the next epoch, and its record stays as it is.",
        ),
    )


def is_late(report: HostReport) -> bool:
    """Whether nothing but the end of its time keeps the machine from a verdict."""
    return [reason.code for reason in report.reasons] == ["HOST_TIMEOUT"]


def our_fault(executor: Executor, error: Exception | str) -> HostReport:
    """The report of a machine whose visit went wrong on our side alone."""
    return unvisited(
        executor,
        Reason(
            VALIDATOR_FAILED,
            Severity.NO_VERDICT,
            error if isinstance(error, str) else type(error).__name__,
            "a visit that goes through on the validator's side",
            "Nothing to do: the validator's log has the cause.",
        ),
    )
