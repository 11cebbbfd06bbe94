"""Whether the chain would take a weight vector: its rules, over records, before anything is signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from storage.records import Neuron, SubnetView, WeightTarget

U16_MAX = 65_535
TOLERANCE = 2 / U16_MAX
"""Two ways of rounding a share to u16 differ by no more."""


@dataclass(frozen=True, slots=True)
class ChainRules:
    """What the chain demands beside what a `SubnetView` tells."""

    consensus: str
    """`Yuma` is the one that we know."""
    stake_threshold_rao: int
    max_weights_limit: int
    """u16 share that one target may have at most."""


def still_theirs(
    view: SubnetView, targets: Sequence[WeightTarget]
) -> tuple[tuple[WeightTarget, ...], tuple[str, ...]]:
    """Targets whose uid still belongs to their hotkey, summing to 1 again, and the hotkeys left out."""
    owners = {n.uid: n.hotkey for n in view.neurons}
    kept = [t for t in targets if owners.get(t.uid) == t.hotkey]
    total = sum(t.weight for t in kept)
    dropped = tuple(t.hotkey for t in targets if owners.get(t.uid) != t.hotkey)
    if total <= 0:
        return (), dropped
    return tuple(replace(t, weight=t.weight / total) for t in kept if t.weight > 0), dropped


def malformed(targets: Sequence[WeightTarget]) -> str:
    """The chain's name for what is wrong with the vector itself; empty when nothing is."""
    uids = [t.uid for t in targets]
    if len(set(uids)) != len(uids):
        return "DuplicateUids"
    if any(not isfinite(t.weight) or t.weight < 0 for t in targets):
        return "InvalidWeight"
    return "" if any(t.weight > 0 for t in targets) else "AllWeightsZero"


def refusal(
    view: SubnetView, rules: ChainRules, me: Neuron, targets: Sequence[WeightTarget], version_key: int
) -> str:
    """The pallet's name for why it would refuse; empty when it would not.

    A timelocked commit is checked only when it is revealed, silently: so all of it is checked here.
    """
    to_self = [t.uid for t in targets] == [me.uid]
    if rules.consensus != "Yuma":
        return "UnknownConsensus"
    if me.stake_rao < rules.stake_threshold_rao:
        return "NotEnoughStakeToSetWeights"
    if version_key < view.weights_version:
        return "IncorrectWeightVersionKey"
    if not (me.has_permit or to_self or me.hotkey == view.owner_hotkey):
        return "NeuronNoValidatorPermit"
    if not to_self and len(targets) < min(view.min_allowed_weights, len(view.neurons)):
        return "WeightVecLengthIsLow"
    return ""


def blocks_to_wait(view: SubnetView, me: Neuron) -> int:
    """Blocks until the rate limit lets this neuron set weights; registration counts as setting them."""
    if me.last_update_block == 0:
        return 0
    return max(me.last_update_block + view.weights_rate_limit_blocks - view.head.block, 0)


def blocks_to_next_tempo(view: SubnetView, me: Neuron) -> int:
    """Blocks until this neuron may set weights again if it sets them once a tempo; 0 when it has not in this one."""
    if me.last_update_block == 0 or me.last_update_block < view.head.last_epoch_block:
        return 0
    return max(view.head.next_epoch_block - view.head.block, 1)


def shares(row: Mapping[int, float]) -> dict[int, float]:
    """A row as shares of 1, zeros left out."""
    total = sum(row.values())
    return {uid: value / total for uid, value in row.items() if value} if total else {}


def same_row(wanted: Mapping[int, float], landed: Mapping[int, float]) -> bool:
    """Whether two rows of shares are the same but for rounding to u16."""
    return all(
        abs(wanted.get(uid, 0.0) - landed.get(uid, 0.0)) <= TOLERANCE for uid in wanted.keys() | landed.keys()
    )
