"""Amounts of TAO as miners type them."""

from __future__ import annotations

import re
from decimal import Decimal

from tasks.errors import SettingError

RAO = 1_000_000_000


def rao_of(key: str, amount: str) -> int:
    """Rao of `0.8`; SettingError, with the option's name, for what is no amount."""
    typed = amount.strip()
    if not re.fullmatch(r"[0-9]{1,8}(\.[0-9]{1,9})?", typed):
        raise SettingError(key, amount[:40], "an amount of TAO such as 0.8, with up to nine decimals")
    return int(Decimal(typed) * RAO)
