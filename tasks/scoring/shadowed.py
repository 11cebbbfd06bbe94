"""Whom each check and each term in shadow would have changed, had it been enforced: of archived scores alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from storage.records import Score
from tasks.policy import ShadowPolicy
from tasks.scoring.bills import TERMS, total_of
from tasks.scoring.grace import is_kept
from tasks.shadow import against_in_shadow


@dataclass(frozen=True, slots=True)
class Change:
    """What one check or term in shadow would have done to one machine in one epoch."""

    epoch: int
    executor_key: str
    kind: str
    """check or term."""
    name: str
    """The reason's code, or the score's column."""
    score: float
    """As it was paid."""
    then: float
    """With this one enforced, and what else is in shadow still in shadow."""
    enforced: float
    """With everything enforced."""
    why: str


def changes(epoch: int, scores: Iterable[Score], shadow: ShadowPolicy) -> tuple[Change, ...]:
    """Every machine whose score would have been another, once for each check and term, in the order of the scores."""
    return tuple(
        change
        for score in scores
        for change in (*_by_checks(epoch, score, shadow), *_by_terms(epoch, score, shadow))
        if change.then != change.score
    )


def _by_checks(epoch: int, score: Score, shadow: ShadowPolicy) -> Iterator[Change]:
    for reason in against_in_shadow(score.reasons):
        if reason.code in shadow.checks:
            why = f"got {reason.got}; wanted {reason.wanted}"
            yield _change(epoch, score, "check", reason.code, then=0.0, why=why)


def _by_terms(epoch: int, score: Score, shadow: ShadowPolicy) -> Iterator[Change]:
    if is_kept(score):
        return  # of another epoch's terms, which its own archive has
    for term in shadow.terms:
        if term in TERMS[score.formula]:
            others = frozenset(shadow.terms) - {term}
            then = total_of(score, others)
            yield _change(epoch, score, "term", term, then=then, why=f"{term} {getattr(score, term):.6g}")


def _change(epoch: int, score: Score, kind: str, name: str, *, then: float, why: str) -> Change:
    enforced = score.score if score.enforced_score is None else score.enforced_score
    return Change(epoch, score.executor_key, kind, name, score.score, then, enforced, why)
