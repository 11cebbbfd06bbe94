"""When a validator proves: slots of a circle that all validators read off the same chain, so that they don't meet.

    slot of a block      = block // blocks of a slot, mod slots
    a validator's place  = its rank in a draw of the epoch's block hash among the validators with a permit
    wave i is due in slot (place + i) mod slots

One barrier for all machines of a wave is worth more than a slot of its own for every miner: so a wave has the slot.
Since membership of a wave is drawn from (block hash, miner), that is still a draw from (block hash, miner,
validator), and validators who see the same network make the same waves: in one slot no two of them are at the same
one. The circle, and not the epoch's begin, is what slots are counted from, because a validator may start its epoch
at any block of it, and because nobody has to wait longer than once around. With more validators than slots those
with the most stake have a slot of their own, and the others share.

It is a courtesy and no protection: who comes out of turn finds the machine's lock (`kernels/lock.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from storage.records import Head, SubnetView
from tasks.policy import ProofPolicy


@dataclass(frozen=True, slots=True)
class Turn:
    """A wave's number, and in how many seconds it is due."""

    wave: int
    wait_s: float


def permitted(view: SubnetView) -> frozenset[str]:
    """The hotkeys that may validate by this snapshot."""
    return frozenset(n.hotkey for n in view.neurons if n.has_permit)


def place_of(validator: str, stakes: Sequence[tuple[str, int]], block_hash: str, slots: int) -> int:
    """The validator's place on the circle, 0 .. slots - 1; stakes are of all who have a permit, (hotkey, rao).

    The `slots` with the most stake draw among themselves, then the next so many: the draw does not hang on their exact
    stakes, which each validator reads at a block of its own. Who has no permit takes the first place.
    """
    ranked = [hotkey for hotkey, _ in sorted(stakes, key=lambda each: (-each[1], each[0]))]
    if validator not in ranked:
        return 0
    first = ranked.index(validator) // slots * slots
    drawn = sorted(ranked[first : first + slots], key=lambda hotkey: _lot(block_hash, hotkey))
    return drawn.index(validator)


def turns(place: int, waves: int, head: Head, policy: ProofPolicy) -> tuple[Turn, ...]:
    """The order of the waves from this block on; without slots all are due at once, in their order."""
    if policy.slot_s <= 0:
        return tuple(Turn(wave, 0.0) for wave in range(waves))
    due = [Turn(wave, _wait_s((place + wave) % policy.slots, head, policy)) for wave in range(waves)]
    return tuple(sorted(due, key=lambda turn: (turn.wait_s, turn.wave)))


def _wait_s(slot: int, head: Head, policy: ProofPolicy) -> float:
    """Until the slot comes, 0 when it is now and its first half is not over: later, the wave would run over its end.

    Counted in whole blocks, which all validators read alike, and not by anybody's clock.
    """
    slot_blocks = max(1, round(policy.slot_s / head.block_time_s))
    circle_blocks = policy.slots * slot_blocks
    into_blocks = (head.block - slot * slot_blocks) % circle_blocks
    return 0.0 if 2 * into_blocks < slot_blocks else (circle_blocks - into_blocks) * head.block_time_s


def _lot(block_hash: str, hotkey: str) -> bytes:
    return hashlib.blake2s(f"{block_hash} {hotkey}".encode()).digest()
