"""Scores to weights: a share for each miner, a share for the owner to burn, all of them 1 together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from storage.records import (
    MinerReply,
    Neuron,
    Reason,
    Score,
    SubnetView,
    WeightTarget,
    WeightVector,
)
from tasks.errors import NoWeights
from tasks.policy import WeightPolicy


def weight_vector(
    epoch: int, scores: Iterable[Score], view: SubnetView, policy: WeightPolicy
) -> WeightVector:
    """What the epoch wants to set, targets in the order of their uids, none with weight 0.

    A miner's share is its machines' scores over all scores of registered miners. `burn_share` of the result is what
    really goes to the owner for burning: the policy's, or 1 when nobody scored. NoWeights when a score is negative or no
    number, when the policy's share is out of range, or when there is something to burn and the owner has no uid.
    """
    if not 0.0 <= policy.burn_share <= 1.0:
        raise NoWeights(f"the burn share is {policy.burn_share}, expected 0 to 1")
    miners = {neuron.hotkey: neuron for neuron in view.neurons}
    shares = _shares(_score_by_miner(scores), miners)
    burn_share = policy.burn_share if shares else 1.0
    weights = {miners[hotkey].uid: (1.0 - burn_share) * share for hotkey, share in shares.items()}
    if burn_share > 0.0:
        owner = _owner(view)
        weights[owner.uid] = weights.get(owner.uid, 0.0) + burn_share
    hotkeys = {neuron.uid: neuron.hotkey for neuron in view.neurons}
    targets = tuple(
        WeightTarget(uid, hotkeys[uid], weights[uid]) for uid in sorted(weights) if weights[uid] > 0.0
    )
    return WeightVector(epoch, targets, burn_share)


def is_nobody_heard(
    replies: Iterable[MinerReply], scores: Iterable[Score], known_miners: frozenset[str] = frozenset()
) -> bool:
    """Whether machines should have been heard and none was: then the trouble is most likely our own.

    Setting weights from that would burn every miner's pay because our own line is down; the weights stay as they are.
    `known_miners` are the hotkeys of miners with a machine on a run of passed epochs: each must be heard of, by a verdict
    or by its own signed answer, so that one miner that answers does not speak for all that are silent.
    """
    asked = {reply.hotkey: reply for reply in replies}
    listed = list(scores)
    if any(score.passed > 0 or _failed(score.reasons) for score in listed):
        return False
    has_answered = {hotkey for hotkey, reply in asked.items() if reply.evidence}
    if listed or (known_miners & asked.keys()) - has_answered:
        return True
    return bool(asked) and not has_answered


def _failed(reasons: Iterable[Reason]) -> bool:
    return any(reason.fails for reason in reasons)


def _score_by_miner(scores: Iterable[Score]) -> dict[str, list[float]]:
    by_miner: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        if not (math.isfinite(score.score) and score.score >= 0.0):
            raise NoWeights(
                f"the score of executor {score.executor_key!r} is {score.score}, expected a finite number from 0 up"
            )
        by_miner[score.miner_hotkey].append(score.score)
    return by_miner


def _shares(scores: Mapping[str, list[float]], miners: Mapping[str, Neuron]) -> dict[str, float]:
    """Each registered miner's part of 1; empty when all scores are 0. Sums are exact, so that no order matters.

    Scores are scaled by a power of two first, which rounds none that counts, so that no sum overflows.
    """
    top = max((score for hotkey in scores if hotkey in miners for score in scores[hotkey]), default=0.0)
    if top == 0.0:
        return {}
    down = -math.frexp(top)[1] - 1
    sums = {
        hotkey: math.fsum(math.ldexp(score, down) for score in part)
        for hotkey, part in scores.items()
        if hotkey in miners
    }
    total = math.fsum(sums.values())
    return {hotkey: part / total for hotkey, part in sums.items() if part > 0.0}


def _owner(view: SubnetView) -> Neuron:
    owner = view.by_hotkey(view.owner_hotkey)
    if owner is None:
        raise NoWeights(
            f"the owner's hotkey {view.owner_hotkey} has no uid on subnet {view.netuid}: nothing can be burned"
        )
    return owner
