"""Who may enter a miner's door: the rule over the metagraph, and the callable that the door asks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from storage.records import SubnetView
from tasks.offering.config import MinerConfig

MayEnter = Callable[[str], bool | str]
"""True lets the hotkey in; a text says why not (False: without saying)."""


def refusal(view: SubnetView, hotkey: str, *, min_stake_rao: int, allowed: frozenset[str]) -> str | None:
    """Why this hotkey may not enter, None when it may."""
    neuron = view.by_hotkey(hotkey)
    if neuron is None:
        return f"not registered on subnet {view.netuid} at block {view.head.block}"
    if allowed and hotkey not in allowed:
        return "not on this miner's list"
    if not neuron.has_permit:
        return "no validator permit"
    if neuron.stake_rao < min_stake_rao:
        return f"stake {neuron.stake_rao / 1e9:.3f}, wanted at least {min_stake_rao / 1e9:.3f}"
    return None


@dataclass(slots=True)
class Admission:
    """The rule over the newest view; nobody enters before there is one, nor when it is too old."""

    min_stake_rao: int
    allowed: frozenset[str] = frozenset()
    view: SubnetView | None = None
    """Replaced by whoever follows the chain."""
    max_age_s: float = math.inf
    """Of a view that was learned."""
    clock: Callable[[], float] = time.monotonic
    learned_s: float = 0.0

    def learn(self, view: SubnetView) -> None:
        """Go by this view from now on."""
        self.view, self.learned_s = view, self.clock()

    def follow(self, config: MinerConfig) -> None:
        """Go by this file from now on."""
        self.min_stake_rao, self.allowed = config.min_validator_stake_rao, config.allowed_validators

    def __call__(self, hotkey: str) -> bool | str:
        """Whether the hotkey may enter, or why not."""
        if self.view is None:
            return "the subnet is not known here yet"
        if self.clock() - self.learned_s > self.max_age_s:
            return f"the chain has not answered this agent for over {self.max_age_s / 60:g} minutes"
        reason = refusal(self.view, hotkey, min_stake_rao=self.min_stake_rao, allowed=self.allowed)
        return True if reason is None else reason
