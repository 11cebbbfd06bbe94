"""How much collateral a machine needs, and whether it has it: by its miner's lock on the chain, or by our ledger. Pure.

needed = unit of the model x cards x days           8x H100 80GB HBM3: 0.103 x 8 x 7 = 5.768 TAO, exact to the rao
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tasks.policy import CollateralPolicy

RAO = 1_000_000_000


class Stake(NamedTuple):
    """What one machine needs, and what stands behind it."""

    miner_hotkey: str
    needed_rao: int
    """Of TAO."""
    locked_rao: int
    """Of alpha: the miner's native lock, for all of its machines together."""
    deposited_rao: int
    """Of TAO: free in our ledger, for this machine alone."""


def needed_rao(model: str, card_count: int, policy: CollateralPolicy) -> int:
    """Rao of TAO for a machine with so many cards of a model (the table's name); 0 where the policy asks for nothing."""
    if policy.source == "none" or model in policy.exempt_models:
        return 0
    return dict(policy.units_rao).get(model, policy.other_unit_rao) * card_count * policy.days


def alpha_of_tao(tao_rao: int, alpha_price_rao: int) -> int:
    """Rao of alpha that are worth at least so many rao of TAO, at a price in rao of TAO for one alpha."""
    return -(-tao_rao * RAO // alpha_price_rao)


def covered(stakes: Iterable[Stake], alpha_price_rao: int, policy: CollateralPolicy) -> list[bool]:
    """Whether each machine is covered, in the order given.

    By the chain: a miner's lock must cover all of its machines together, or it covers none, since nobody could say
    which. By the ledger: each machine stands for itself. Without an alpha price (0) no lock covers anything.
    """
    listed = list(stakes)
    if policy.source == "ledger":
        return [stake.deposited_rao >= stake.needed_rao for stake in listed]
    by_miner: dict[str, int] = defaultdict(int)
    for stake in listed:
        by_miner[stake.miner_hotkey] += stake.needed_rao
    return [_is_locked(stake, by_miner[stake.miner_hotkey], alpha_price_rao) for stake in listed]


def _is_locked(stake: Stake, needed: int, alpha_price_rao: int) -> bool:
    if needed == 0:
        return True
    return alpha_price_rao > 0 and stake.locked_rao >= alpha_of_tao(needed, alpha_price_rao)
