"""What miners type: amounts of TAO, and where validators reach them."""

from __future__ import annotations

import re
from decimal import Decimal

from tasks.edges import wire
from tasks.errors import SettingError

RAO = 1_000_000_000


def rao_of(key: str, amount: str) -> int:
    """Rao of `0.8`; SettingError, with the option's name, for what is no amount."""
    typed = amount.strip()
    if not re.fullmatch(r"[0-9]{1,8}(\.[0-9]{1,9})?", typed):
        raise SettingError(key, amount[:40], "an amount of TAO such as 0.8, with up to nine decimals")
    return int(Decimal(typed) * RAO)


def endpoint_of(text: str) -> tuple[str, int]:
    """Address and port of `203.0.113.7:8091` or `[2001:db8::1]:8091`; SettingError for anything else."""
    host, _, port = text.rpartition(":")
    number = int(port[:6]) if port.isascii() and port.isdigit() else 0
    wanted = "a literal address and a port, 203.0.113.7:8091"
    if not 1 <= number <= 65_535:
        raise SettingError("--announce", text, wanted)
    try:
        address = wire.literal_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise SettingError("--announce", text, wanted) from None
    return str(address), number
