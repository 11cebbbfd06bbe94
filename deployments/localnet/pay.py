"""A renter pays on the local subnet: `python -m deployments.localnet.pay RENTER TAO`, from the subnet owner's funds.

The next look at the chain (flows/watch.py, every 15 s) makes it the renter's balance.
"""

from __future__ import annotations

import os
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path

from deployments.localnet.cast import CAST
from deployments.localnet.layout import Layout
from deployments.localnet.roles import pay, wallet_of
from tasks.collateral.account import MAX_RAO, RAO
from tasks.errors import SettingError

USAGE_ERROR = 2


def main(arguments: list[str]) -> int:
    """Pay; the exit code."""
    try:
        name, amount = arguments
        rao = _rao(amount)
    except (ValueError, SettingError) as error:
        told = str(error) if isinstance(error, SettingError) else "usage: pay RENTER TAO"
        sys.stderr.write(f"{told}\n")
        return USAGE_ERROR
    layout = Layout(Path(os.environ.get("SUBNET_FOLDER", ".local")).absolute())
    owner = wallet_of(layout.subnet / "wallets", CAST, CAST.owner)
    extrinsic = pay(layout.chain, owner, name, rao)
    sys.stdout.write(f"{amount} TAO sent for renter {name} in extrinsic {extrinsic}\n")
    return 0


def _rao(amount: str) -> int:
    try:
        rao = Decimal(amount) * RAO
    except InvalidOperation:
        rao = Decimal(0)
    if rao != int(rao) or not 0 < rao <= MAX_RAO:
        raise SettingError("TAO", amount[:40], "an amount such as 2.5, with up to nine decimals")
    return int(rao)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
