"""Which validator checks which machine in an epoch, when they share the work: a draw that all of them make alike. Pure.

    key(validator) = -ln(u) / stake, u drawn from (hash of the epoch's first block, machine, validator)
    checkers       = the smallest keys, as many as it takes to hold half of the stake that may validate

That is a draw by stake without putting back: who has twice the stake is drawn first twice as often. The hash is known to
nobody before the epoch, so no machine knows earlier who will come, and every epoch draws anew. Each validator reads
stakes at a block of its own: a little more or less of one moves its own key alone, so that they still draw alike.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from storage.records import Reason, Severity, SubnetView

NOT_DRAWN = "NOT_DRAWN"


def permitted_stakes(view: SubnetView) -> dict[str, int]:
    """Rao of stake of every hotkey that may validate and has some."""
    return {n.hotkey: n.stake_rao for n in view.neurons if n.has_permit and n.stake_rao > 0}


def checkers(executor_key: str, stakes: Mapping[str, int], block_hash: str) -> tuple[str, ...]:
    """The validators that check this machine, as they were drawn: no fewer than hold half of all stake, none too many."""
    total, held, drawn = sum(stakes.values()), 0, []
    for hotkey in sorted(stakes, key=lambda one: (_key(executor_key, one, stakes[one], block_hash), one)):
        if 2 * held >= total:
            break
        drawn.append(hotkey)
        held += stakes[hotkey]
    return tuple(drawn)


def is_ours(executor_key: str, own_hotkey: str, stakes: Mapping[str, int], block_hash: str) -> bool:
    """Whether we check this machine; always, when we have no stake to be drawn by."""
    return own_hotkey not in stakes or own_hotkey in checkers(executor_key, stakes, block_hash)


def not_drawn(executor_key: str, stakes: Mapping[str, int], block_hash: str) -> Reason:
    """Why a machine has no verdict of ours in this epoch, though nothing is wrong with it."""
    count = len(checkers(executor_key, stakes, block_hash))
    return Reason(
        NOT_DRAWN,
        Severity.NO_VERDICT,
        f"drawn for {count} of {len(stakes)} validators, not for this one",
        "a verdict of the validators that hold half of the stake",
        "Nothing to do: the next epoch draws anew, and a machine that would not keep its score is checked by everybody.",
    )


def _key(executor_key: str, hotkey: str, stake_rao: int, block_hash: str) -> float:
    """The smaller, the earlier: exponential with the stake as its rate."""
    drawn = hashlib.blake2s(f"{block_hash} {executor_key} {hotkey}".encode(), digest_size=8).digest()
    return -math.log((int.from_bytes(drawn, "big") + 1) / (1 << 64)) / stake_rao
