"""Scores to weights: a share for each miner, a share for the owner to burn, all of them 1 together."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

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
from tasks.inspection.checks.bans import BAN_CODES
from tasks.policy import WeightPolicy


class Scored(Protocol):
    """As much of a score as weights are made of."""

    @property
    def executor_key(self) -> str:
        """The machine."""
        ...

    @property
    def miner_hotkey(self) -> str:
        """Whose it is."""
        ...

    @property
    def score(self) -> float:
        """From 0 up."""
        ...


class Earned(NamedTuple):
    """A machine's score of an earlier epoch, as the archive keeps it."""

    executor_key: str
    miner_hotkey: str
    score: float


class Ground(NamedTuple):
    """What weights look at of the chain: an epoch's archive has all of it."""

    neurons: tuple[Neuron, ...]
    owner_hotkey: str
    block_hash: str
    """Of the epoch's pinned block."""

    @classmethod
    def of(cls, view: SubnetView) -> Ground:
        """The ground of a snapshot."""
        return cls(view.neurons, view.owner_hotkey, view.head.block_hash)


def weight_vector(
    epoch: int,
    scores: Iterable[Scored],
    ground: Ground,
    policy: WeightPolicy,
    first_epoch: int | None = None,
) -> WeightVector:
    """What the epoch wants to set, targets in the order of their uids, none with weight 0.

    `scores` are those of all epochs from `first_epoch` on, in any order: a miner's share is the sum of its machines'
    over the sum of all registered miners'. `burn_share` of the result is what really burns: the policy's, or what scores
    that are shares leave, or 1 when nobody scored. NoWeights when a score is negative or no number, when the policy's shares are out of range, or when
    there is something to burn and the owner has no uid.
    """
    if not 0.0 <= policy.burn_share <= 1.0:
        raise NoWeights(f"the burn share is {policy.burn_share}, expected 0 to 1")
    miners = {neuron.hotkey: neuron for neuron in ground.neurons}
    listed = tuple(scores)
    shares = _shares(_score_by_miner(listed), miners)
    burn_share = _burn_share(listed, miners, policy) if shares else 1.0
    weights = {miners[hotkey].uid: (1.0 - burn_share) * share for hotkey, share in shares.items()}
    if burn_share > 0.0:
        for uid, share in _burners(ground, policy, burn_share).items():
            weights[uid] = weights.get(uid, 0.0) + share
    hotkeys = {neuron.uid: neuron.hotkey for neuron in ground.neurons}
    targets = tuple(
        WeightTarget(uid, hotkeys[uid], weights[uid]) for uid in sorted(weights) if weights[uid] > 0.0
    )
    return WeightVector(epoch, targets, burn_share, first_epoch)


def _burn_share(scores: Sequence[Scored], miners: Mapping[str, Neuron], policy: WeightPolicy) -> float:
    """The policy's, or what the shares of registered miners leave, in the mean of the epochs that they are of.

    There are as many epochs as the machine that was scored most often has scores.
    """
    if not policy.scores_are_shares:
        return policy.burn_share
    epochs = max(Counter(score.executor_key for score in scores).values())
    paid = math.fsum(min(score.score, 1.0) for score in scores if score.miner_hotkey in miners)
    return max(0.0, 1.0 - paid / epochs)


def _burners(ground: Ground, policy: WeightPolicy, burn_share: float) -> dict[int, float]:
    """Who burns how much: the policy's uids as far as the subnet has them, else the owner."""
    known = {neuron.uid for neuron in ground.neurons}
    uids = sorted(known.intersection(policy.burn_uids))
    if not uids:
        return {_owner(ground).uid: burn_share}
    minor = policy.burn_minor_share
    if minor * (len(uids) - 1) > burn_share:
        raise NoWeights(
            f"{len(uids) - 1} uids that burn {minor} each are more than the burn share {burn_share}"
        )
    drawn = hashlib.blake2s(ground.block_hash.encode()).digest()
    main = uids[int.from_bytes(drawn, "big") % len(uids)]
    return {uid: burn_share - minor * (len(uids) - 1) if uid == main else minor for uid in uids}


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
    """By what was heard of the machine: a ban is known without."""
    return any(reason.fails and reason.code not in BAN_CODES for reason in reasons)


def _score_by_miner(scores: Iterable[Scored]) -> dict[str, list[float]]:
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


def _owner(ground: Ground) -> Neuron:
    for neuron in ground.neurons:
        if neuron.hotkey == ground.owner_hotkey:
            return neuron
    raise NoWeights(
        f"the owner's hotkey {ground.owner_hotkey} has no uid on the subnet: nothing can be burned"
    )
