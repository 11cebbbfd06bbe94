"""How much collateral machines need, and which have it: by their miner's lock on the chain, or by our ledger. Pure.

needed = unit of the model x cards x days           8x H100 80GB HBM3: 0.103 x 8 x 7 = 5.768 TAO, exact to the rao
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.policy import CollateralPolicy

RAO = 1_000_000_000


class Cover(NamedTuple):
    """What stands behind each machine, and whether that is enough; a value a machine."""

    needed_rao: np.ndarray
    """By the chain: rao of alpha for all machines of the miner together; by the ledger: rao of TAO for the machine."""
    has_rao: np.ndarray
    """Of the same."""
    is_covered: np.ndarray


def needed_rao(model: str, card_count: int, policy: CollateralPolicy) -> int:
    """Rao of TAO for a machine with so many cards of a model (the table's name); 0 where the policy asks for nothing."""
    if policy.source == "none" or model in policy.exempt_models:
        return 0
    return dict(policy.units_rao).get(model, policy.other_unit_rao) * card_count * policy.days


def alpha_of_tao(tao_rao: int, alpha_price_rao: int) -> int:
    """Rao of alpha that are worth at least so many rao of TAO, at a price in rao of TAO for one alpha."""
    return -(-tao_rao * RAO // alpha_price_rao)


def cover_by_ledger(needed: np.ndarray, deposited_rao: np.ndarray) -> Cover:
    """Each machine stands for itself."""
    return Cover(needed, deposited_rao, deposited_rao >= needed)


def cover_by_chain(
    miner: np.ndarray, needed: np.ndarray, locked_rao: np.ndarray, alpha_price_rao: int
) -> Cover:
    """A miner's lock must cover all of its machines together, or it covers none, since nobody could say which.

    Without an alpha price (0) no lock covers anything.
    """
    miners, numbered = np.unique(miner, return_inverse=True)
    of_miner = np.zeros(len(miners), dtype="int64")
    np.add.at(of_miner, numbered, needed)
    price = alpha_price_rao or None
    alpha = [_most(alpha_of_tao(int(tao), price)) if price else _MOST * bool(tao) for tao in of_miner]
    needed_alpha = np.array(alpha, dtype="int64")[numbered]
    return Cover(needed_alpha, locked_rao, locked_rao >= needed_alpha)


_MOST = (1 << 63) - 1
"""More than all alpha that there will ever be."""


def _most(rao: int) -> int:
    return min(rao, _MOST)
