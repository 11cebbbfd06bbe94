"""What speaks against a machine: each check looks at one thing and gives at most one reason.

    facts, what earlier epochs know, smoothed bandwidth, policy -> all reasons at once, never only the first

`CHECKS` is the list to read. A fact that the machine did not give never passes a check that needs it.
"""

from __future__ import annotations

from collections.abc import Callable

from storage.records import Bandwidth, ExecutorRecord, HostFacts, Reason
from tasks.inspection.checks import cards, history, machine, usage
from tasks.inspection.checks.duplicates import Claim, find_duplicates
from tasks.inspection.checks.smoothing import smooth
from tasks.inspection.checks.subject import Subject
from tasks.policy import InspectionPolicy

__all__ = ["CHECKS", "Claim", "Subject", "check_host", "find_duplicates", "smooth"]

CHECKS: tuple[Callable[[Subject], Reason | None], ...] = (
    cards.gpu_count_zero,
    cards.gpu_count_exceeds_max,
    cards.gpu_details_mismatch,
    cards.gpu_model_unsupported,
    cards.mixed_models,
    cards.gpu_vram_mismatch,
    cards.gpu_vram_below_minimum,
    cards.driver_missing,
    cards.gpu_uuid_malformed,
    cards.gpu_uuid_repeated,
    cards.gpu_power_limit,
    usage.gpu_usage_high,
    usage.gpu_foreign_process,
    usage.gpu_vram_held,
    machine.ram_below_minimum,
    machine.disk_below_minimum,
    machine.network_speed_too_slow,
    machine.os_not_linux,
    machine.os_not_recommended,
    machine.container_runtime_missing,
    machine.host_minimum_lowered,
    history.spec_changed,
    history.gpu_uuid_changed,
)


def check_host(
    facts: HostFacts,
    record: ExecutorRecord,
    bandwidth_smoothed: Bandwidth | None,
    policy: InspectionPolicy,
    allowed_owners: frozenset[str] = frozenset(),
) -> tuple[Reason, ...]:
    """All reasons against one machine, in the order of `CHECKS`."""
    subject = Subject(facts, record, bandwidth_smoothed, policy, allowed_owners)
    return tuple(reason for check in CHECKS if (reason := check(subject)) is not None)
