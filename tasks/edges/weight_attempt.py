"""One weight vector on its way to the chain, and the ways in which that ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from storage.records import Neuron, SubnetView, WeightOutcome, WeightStatus, WeightTarget
from tasks.edges.weight_rules import (
    ChainRules,
    blocks_to_next_tempo,
    blocks_to_wait,
    malformed,
    refusal,
    still_theirs,
)

RATE_LIMITED = frozenset({"SettingWeightsTooFast", "CommittingWeightsTooFast", "RateLimited"})

EXPLAINED: Mapping[str, str] = {
    "DuplicateUids": "a uid is named twice in the weight vector",
    "InvalidWeight": "a weight is negative or not a number",
    "AllWeightsZero": "no target has a weight: decide on a burn target instead",
    "AllTargetsGone": "no target's uid belongs to its hotkey any more",
    "HotKeyNotRegisteredInSubNet": "this validator has no uid on the subnet: register its hotkey",
    "UnknownConsensus": "the subnet does not run Yuma consensus, which is the one we know",
    "NotEnoughStakeToSetWeights": "this validator's stake is below what the chain asks for: stake more",
    "IncorrectWeightVersionKey": "the subnet asks for a newer validator release: update it",
    "NeuronNoValidatorPermit": "this validator has no permit: it needs more stake, and an epoch to pass",
    "WeightVecLengthIsLow": "the subnet asks for more targets than the vector has",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A vector that is well formed and has targets, for a validator that is registered."""

    view: SubnetView
    rules: ChainRules
    me: Neuron
    targets: tuple[WeightTarget, ...]
    """Those whose uid is still theirs."""
    dropped: tuple[str, ...]
    """Hotkeys of the others."""
    version_key: int
    landed: tuple[WeightTarget, ...]
    """Our row on the chain before."""

    def refused_by_rules(self) -> WeightOutcome | None:
        """Our own no, where the chain would refuse; None when it would not."""
        code = refusal(self.view, self.rules, self.me, self.targets, self.version_key)
        return self._refused(code, EXPLAINED[code]) if code else None

    def too_soon(self) -> WeightOutcome | None:
        """The outcome when the rate limit does not allow it yet, or this tempo has its weights already."""
        wait = blocks_to_wait(self.view, self.me)
        tempo = blocks_to_next_tempo(self.view, self.me)
        if tempo > wait:
            outcome = replace(self._not_yet(tempo), code="WeightsSetThisTempo")
            return replace(outcome, message=f"this tempo has its weights; the next begins in {tempo} blocks")
        return self._not_yet(wait) if wait else None

    def refused_by_chain(self, name: str, message: str, extrinsic_id: str) -> WeightOutcome:
        """The chain's own no, which may be just a not yet."""
        block = int(extrinsic_id.partition("-")[0]) if extrinsic_id else self.view.head.block
        if name in RATE_LIMITED:
            outcome = self._not_yet(max(blocks_to_wait(self.view, self.me), 1))
        else:
            outcome = self._refused(name, message)
        return replace(outcome, block=block, extrinsic_id=extrinsic_id)

    def ended(
        self,
        status: WeightStatus,
        *,
        block: int,
        code: str = "",
        message: str = "",
        landed: tuple[WeightTarget, ...] | None = None,
    ) -> WeightOutcome:
        """An outcome of this attempt; our row stays what it was unless another is given."""
        row = self.landed if landed is None else landed
        return WeightOutcome(
            status=status,
            code=code,
            message=message,
            block=block,
            extrinsic_id="",
            retry_after_blocks=0,
            landed=row,
            dropped_hotkeys=self.dropped,
        )

    def _refused(self, code: str, message: str) -> WeightOutcome:
        return self.ended(WeightStatus.REFUSED, block=self.view.head.block, code=code, message=message)

    def _not_yet(self, wait: int) -> WeightOutcome:
        sealed = self.view.is_commit_reveal
        code = "CommittingWeightsTooFast" if sealed else "SettingWeightsTooFast"
        outcome = self.ended(WeightStatus.NOT_YET, block=self.view.head.block, code=code)
        return replace(outcome, retry_after_blocks=wait, message=f"again in {wait} blocks")


def prepared(
    view: SubnetView,
    rules: ChainRules,
    targets: Sequence[WeightTarget],
    *,
    hotkey: str,
    version_key: int,
    landed: tuple[WeightTarget, ...],
) -> Attempt | WeightOutcome:
    """The attempt to set these targets, or the refusal of what can't even be tried."""
    me = view.by_hotkey(hotkey)
    code = malformed(targets)
    kept, dropped = still_theirs(view, targets) if not code else ((), ())
    if not code and not kept:
        code = "AllTargetsGone"
    if me is not None and not code:
        return Attempt(view, rules, me, kept, dropped, version_key, landed)
    code = code or "HotKeyNotRegisteredInSubNet"
    return WeightOutcome(
        status=WeightStatus.REFUSED,
        code=code,
        message=EXPLAINED[code],
        block=view.head.block,
        extrinsic_id="",
        retry_after_blocks=0,
        landed=landed,
        dropped_hotkeys=dropped,
    )
