"""What landed against what was meant: weights that were set are followed for two tempos. Pure rules.

Our row on the chain is looked at in every epoch. Weights that are sealed show up when they are revealed, a tempo or
two later; all others must be there at every look until our next ones take their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from storage.records import Landing, LandingState
from tasks.edges.weight_rules import same_row

TEMPOS = 2
"""After so many it is decided."""


def difference(meant: Mapping[int, float], landed: Mapping[int, float]) -> float:
    """The share of the emission that goes elsewhere than meant, 0..1; shares by uid, each side 1 together or empty."""
    return 0.5 * sum(abs(meant.get(uid, 0.0) - landed.get(uid, 0.0)) for uid in meant.keys() | landed.keys())


def look(
    landing: Landing,
    meant: Mapping[int, float],
    landed: Mapping[int, float],
    block: int,
    *,
    is_superseded: bool,
) -> Landing:
    """The landing after a look at our row at this block; `is_superseded`: later weights of ours have taken its place.

    A node that lags behind the block at which they were set tells nothing of them.
    """
    age = block - landing.set_block
    if age < 0:
        return landing
    is_there = same_row(meant, landed)
    seen = replace(
        landing,
        seen_block=block if is_there else landing.seen_block,
        looks=landing.looks + (age >= landing.tempo_blocks),
        difference=difference(meant, landed),
    )
    return replace(seen, state=_state(seen, age, is_there=is_there, is_superseded=is_superseded))


def _state(seen: Landing, age: int, *, is_there: bool, is_superseded: bool) -> LandingState:
    if not seen.is_sealed and not is_there and not is_superseded:
        return LandingState.DIFFERS
    if age < TEMPOS * seen.tempo_blocks and (seen.is_sealed or not is_superseded):
        return LandingState.OPEN
    if seen.seen_block is not None:
        return LandingState.LANDED
    # A validator that was away over both looks has missed what was there meanwhile.
    return LandingState.DIFFERS if seen.looks > 1 or not is_superseded else LandingState.UNSEEN
