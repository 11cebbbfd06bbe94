"""What a check is given, and how it says what it found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from storage.records import Bandwidth, ExecutorRecord, HostFacts, Reason, Severity
from tasks.policy import GIB, InspectionPolicy


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything that a check may look at."""

    facts: HostFacts
    record: ExecutorRecord
    bandwidth: Bandwidth | None
    """Smoothed over epochs; None when it was not measured."""
    policy: InspectionPolicy
    allowed_owners: frozenset[str] = frozenset()
    """Who may hold a card: a lease's `container:<id>`, or the user whose key the validators log in with."""


def fail(code: str, got: str, wanted: str, mend: str) -> Reason:
    """A reason for which the machine is not paid."""
    return Reason(code, Severity.FAIL, got, wanted, mend)


def warn(code: str, got: str, wanted: str, mend: str) -> Reason:
    """A reason that is shown, without effect."""
    return Reason(code, Severity.WARN, got, wanted, mend)


def several(names: Iterable[str]) -> str:
    """The first three, and how many more."""
    listed = list(names)
    rest = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + rest


def gib(size_bytes: int | None) -> str:
    """1 GiB is 2^30 bytes; None is what the machine did not say."""
    return "not said" if size_bytes is None else f"{size_bytes / GIB:.1f} GiB"
