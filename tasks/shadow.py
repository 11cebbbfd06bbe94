"""Shadow: what a policy has computed and archived without effect, until somebody has seen whom it would change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from storage.records import HostReport, Reason, Score, Verdict
from tasks.policy import ShadowPolicy


def shadowed(reasons: Iterable[Reason], shadow: ShadowPolicy) -> tuple[Reason, ...]:
    """The reasons in their order; those of the policy's checks decide nothing any more."""
    return tuple(replace(r, is_shadow=True) if r.code in shadow.checks else r for r in reasons)


def report_in_shadow(report: HostReport, shadow: ShadowPolicy) -> HostReport:
    """The same report, its reasons shadowed."""
    if not shadow.checks:
        return report
    return replace(report, reasons=shadowed(report.reasons, shadow))


def verdict_in_shadow(verdict: Verdict, shadow: ShadowPolicy) -> Verdict:
    """The same verdict by what still decides: proved when all that speaks against it is in shadow.

    Its cards keep what was found of each, so that the figures count and nothing is taken for passed.
    """
    if not shadow.checks or verdict.proved:
        return verdict
    reasons = shadowed(verdict.reasons, shadow)
    against = next((r for r in reasons if r.decides), None)
    if against is not None or not reasons:
        return replace(verdict, reasons=reasons)
    return replace(verdict, reasons=reasons, code="PROVED", severity=None)


def against_in_shadow(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Those that would keep a machine from being paid if they were not in shadow."""
    return tuple(r for r in reasons if r.is_shadow and replace(r, is_shadow=False).decides)


def enforced_scores(scores: Iterable[Score], shadow: ShadowPolicy) -> tuple[Score, ...]:
    """The scores in their order; what a machine would be paid without shadow is 0 where a check in shadow is against it."""
    if not shadow.checks:
        return tuple(scores)
    return tuple(
        replace(score, enforced_score=0.0) if _is_struck(score, shadow) else score for score in scores
    )


def _is_struck(score: Score, shadow: ShadowPolicy) -> bool:
    return any(reason.code in shadow.checks for reason in against_in_shadow(score.reasons))
