"""Whom each check and each term in shadow would have changed, had it been enforced: of archived scores alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from storage.records import EpochOutcome, Score
from tasks.policy import ShadowPolicy, policy_of
from tasks.scoring.bills import TERMS, total_of
from tasks.scoring.grace import is_kept
from tasks.scoring.scoring import score_epoch
from tasks.shadow import against_in_shadow

Alone = Mapping[str, Mapping[str, float]]
"""By term, by machine: the score with this one enforced, and what else is in shadow still in shadow."""
POOLED = frozenset({"lium-2026"})
"""Formulas of which a machine's score hangs on the terms of all others: its own columns do not tell what it would be."""


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


def changes(
    epoch: int, scores: Iterable[Score], shadow: ShadowPolicy, alone: Alone = MappingProxyType({})
) -> tuple[Change, ...]:
    """Every machine whose score would have been another, once for each check and term, in the order of the scores.

    `alone` is `enforced_alone` where the formula is one of POOLED.
    """
    return tuple(
        change
        for score in scores
        for change in (*_by_checks(epoch, score, shadow), *_by_terms(epoch, score, shadow, alone))
        if change.then != change.score
    )


def enforced_alone(epoch: EpochOutcome, shadow: ShadowPolicy) -> Alone:
    """The epoch scored again for each term in shadow, with that one enforced; nothing where it was not scored."""
    if epoch.grounds is None:
        return {}
    policy, found = policy_of(epoch.grounds.policy_values), {}
    for term in shadow.terms:
        others = replace(shadow, terms=tuple(t for t in shadow.terms if t != term))
        given = (epoch.executors, epoch.reports, epoch.verdicts, epoch.grounds)
        scores = score_epoch(*given, replace(policy, shadow=others))
        found[term] = {score.executor_key: score.score for score in scores}
    return found


def _by_checks(epoch: int, score: Score, shadow: ShadowPolicy) -> Iterator[Change]:
    for reason in against_in_shadow(score.reasons):
        if reason.code in shadow.checks:
            why = f"got {reason.got}; wanted {reason.wanted}"
            yield _change(epoch, score, "check", reason.code, then=0.0, why=why)


def _by_terms(epoch: int, score: Score, shadow: ShadowPolicy, alone: Alone) -> Iterator[Change]:
    if is_kept(score):
        return  # of another epoch's terms, which its own archive has
    for term in shadow.terms:
        if term in TERMS[score.formula]:
            then = alone.get(term, {}).get(score.executor_key)
            if then is None:
                then = total_of(score, frozenset(shadow.terms) - {term})
            yield _change(epoch, score, "term", term, then=then, why=f"{term} {getattr(score, term):.6g}")


def _change(epoch: int, score: Score, kind: str, name: str, *, then: float, why: str) -> Change:
    enforced = score.score if score.enforced_score is None else score.enforced_score
    return Change(epoch, score.executor_key, kind, name, score.score, then, enforced, why)
