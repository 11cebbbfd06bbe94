"""Whether a transfer on the chain is the deposit that is claimed: its amount, and for which machine it was meant. Pure."""

from __future__ import annotations

from hashlib import blake2b

from tasks.collateral.account import tao
from tasks.edges.transfers import Transfer
from tasks.errors import CollateralRefused


def confirm(transfer: Transfer, executor_key: str, coldkey: str, amount_rao: int) -> str:
    """How it is confirmed, in words; CollateralRefused when it is not this deposit.

    It is meant for the machine that a remark of the same extrinsic names. Without a remark it must come from the coldkey
    that owns the miner's hotkey (empty: it is not registered), and the operator says which of the miner's machines.
    """
    if transfer.amount_rao != amount_rao:
        raise CollateralRefused(f"the transfer is of {tao(transfer.amount_rao)} TAO, not {tao(amount_rao)}")
    if transfer.remarks:
        if remark_of(executor_key) not in transfer.remarks:
            raise CollateralRefused(f"the transfer's remark does not name {executor_key}")
        return f"transfer of {transfer.sender} with the machine's name"
    if not coldkey or transfer.sender != coldkey:
        raise CollateralRefused(
            f"the transfer is of {transfer.sender}, not of the miner's coldkey {coldkey or '(not registered)'}, and has no remark"
        )
    return f"transfer of the miner's coldkey {transfer.sender}"


def remark_of(executor_key: str) -> str:
    """What the chain's event keeps of a remark with the machine's name."""
    return blake2b(executor_key.encode(), digest_size=32).hexdigest()
