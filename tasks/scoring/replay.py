"""Scores and weights of an archived epoch, made again from what was kept with them, and what differs. Pure.

    executors, reports, verdicts, grounds -> scores -> with the scores of earlier epochs -> weights

Floats are compared by their bits: the same code on the same numbers gives the same numbers, or something is not as
the archive says.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum

from storage.records import EpochOutcome, Grounds, Score, WeightTarget, WeightVector
from tasks.errors import NoWeights, PolicyRefused
from tasks.policy import Policy, digest_of, policy_of
from tasks.scoring.scoring import score_epoch
from tasks.scoring.shares import Ground, Scored, weight_vector

MISSING = "no row"


class Standing(StrEnum):
    """How an epoch's replay came out."""

    IDENTICAL = "identical"
    DIFFERS = "differs"
    NOTHING = "nothing"
    """It did not come as far as its scores: there is nothing to replay."""
    UNKNOWN = "unknown"
    """It can't be replayed; `why` says what is missing."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not as it was archived."""

    table: str
    """scores, weights, epochs for what stands beside the vector; any table of which a row is there twice."""
    subject: str
    """The executor's key, or the uid; empty for the epoch itself."""
    column: str
    archived: object
    replayed: object


@dataclass(frozen=True, slots=True)
class Replay:
    """An epoch made again."""

    epoch: int
    standing: Standing
    scores: int = 0
    """Compared, and so the targets."""
    targets: int = 0
    differences: tuple[Difference, ...] = ()
    why: str = ""
    code_version: str = ""
    """That the epoch was archived with."""


def replay(outcome: EpochOutcome, earned: Iterable[Scored]) -> Replay:
    """Make an epoch's scores and weights again; `earned` are the scores of the earlier epochs that its weights add up."""
    if outcome.grounds is None or not (outcome.scores or outcome.weights):
        return _without_grounds(outcome)
    doubles = tuple(_of_doubles(outcome, outcome.grounds))
    if doubles:
        return _ended(outcome, Standing.DIFFERS, doubles)
    try:
        policy = policy_of(outcome.grounds.policy_values)
        scores = score_epoch(outcome.executors, outcome.reports, outcome.verdicts, outcome.grounds, policy)
        vector = _vector(outcome, policy, (*earned, *scores))
    except (PolicyRefused, NoWeights, ValueError) as error:
        return _ended(outcome, Standing.UNKNOWN, why=str(error))
    differences = (
        *_of_policy(outcome, outcome.grounds, policy),
        *_of_scores(outcome.scores, scores),
        *_of_weights(outcome.weights, vector),
    )
    return _ended(outcome, Standing.DIFFERS if differences else Standing.IDENTICAL, differences)


def _without_grounds(outcome: EpochOutcome) -> Replay:
    if outcome.scores or outcome.weights:
        why = "it was archived before schema 3, without what its scores were made from"
        return _ended(outcome, Standing.UNKNOWN, why=why)
    return _ended(outcome, Standing.NOTHING, why="it did not come as far as its scores")


def _ended(
    outcome: EpochOutcome, standing: Standing, differences: tuple[Difference, ...] = (), why: str = ""
) -> Replay:
    targets = len(outcome.weights.targets) if outcome.weights else 0
    counts = (outcome.epoch, standing, len(outcome.scores), targets)
    return Replay(*counts, differences, why, outcome.code_version)


def _vector(outcome: EpochOutcome, policy: Policy, scores: Iterable[Scored]) -> WeightVector | None:
    """None when the archive has none: nobody was heard, or the epoch was stopped before."""
    if outcome.weights is None or outcome.grounds is None:
        return None
    ground = Ground(outcome.grounds.neurons, outcome.grounds.owner_hotkey, outcome.block_hash)
    return weight_vector(outcome.epoch, scores, ground, policy.weights, outcome.weights.first_epoch)


def _of_policy(outcome: EpochOutcome, grounds: Grounds, policy: Policy) -> Iterator[Difference]:
    """The epoch says which policy it has; its values must be that one's."""
    if outcome.policy != policy.name:
        yield Difference("epochs", "", "policy", outcome.policy, policy.name)
    digest = digest_of(grounds.policy_values)
    if outcome.policy_digest != digest:
        yield Difference("epochs", "", "policy_digest", outcome.policy_digest, digest)


def _of_doubles(outcome: EpochOutcome, grounds: Grounds) -> Iterator[Difference]:
    """Rows whose key comes twice: only one of them can be what was scored or paid."""
    keys: dict[str, Iterable[object]] = {
        "executors": (machine.key for machine in outcome.executors),
        "reports": (report.executor_key for report in outcome.reports),
        "verdicts": (verdict.executor_key for verdict in outcome.verdicts),
        "standings": (standing.executor_key for standing in grounds.standings),
        "neurons": (neuron.uid for neuron in grounds.neurons),
        "prices": (f"{quote.kind} {quote.name}" for quote in grounds.quotes),
        "leases": (lease.lease_id for lease in grounds.leases),
        "scores": (score.executor_key for score in outcome.scores),
        "weights": (target.uid for target in outcome.weights.targets) if outcome.weights else (),
    }
    for table, found in keys.items():
        for key, times in Counter(found).items():
            if times > 1:
                yield Difference(table, str(key), "", f"{times} rows", "a row")


def _of_scores(archived: Iterable[Score], replayed: Iterable[Score]) -> Iterator[Difference]:
    pairs = ({score.executor_key: score for score in rows} for rows in (archived, replayed))
    return _of_rows("scores", *pairs)


def _of_weights(archived: WeightVector | None, replayed: WeightVector | None) -> Iterator[Difference]:
    if archived is None or replayed is None:
        return
    if not is_same(archived.burn_share, replayed.burn_share):
        yield Difference("epochs", "", "burn_share", archived.burn_share, replayed.burn_share)
    yield from _of_rows("weights", _by_uid(archived.targets), _by_uid(replayed.targets))


def _by_uid(targets: Iterable[WeightTarget]) -> dict[str, WeightTarget]:
    return {str(target.uid): target for target in targets}


def _of_rows(
    table: str, archived: Mapping[str, object], replayed: Mapping[str, object]
) -> Iterator[Difference]:
    for key in sorted({*archived, *replayed}):
        ours, theirs = archived.get(key), replayed.get(key)
        if ours is None or theirs is None:
            yield Difference(
                table, key, "", MISSING if ours is None else "a row", MISSING if theirs is None else "a row"
            )
        else:
            yield from _of_columns(table, key, ours, theirs)


def _of_columns(table: str, key: str, archived: object, replayed: object) -> Iterator[Difference]:
    assert is_dataclass(archived)
    for field in fields(archived):
        ours, theirs = getattr(archived, field.name), getattr(replayed, field.name)
        if not is_same(ours, theirs):
            yield Difference(table, key, field.name, ours, theirs)


def is_same(one: object, other: object) -> bool:
    """Whether two values are the same to the bit: -0.0 is not 0.0, and a NaN is itself."""
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    return type(one) is type(other) and one == other
