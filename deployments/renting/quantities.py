"""How renters write time, money and limits: `1h30m`, `0.72`, `5%/30m`, `18:30`. Pure; SettingError for what is none."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal, InvalidOperation

from tasks.errors import SettingError

MICRO = 1_000_000
MAX_USD = 1_000_000
MAX_DURATION_S = 366 * 86_400
_UNITS_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?\Z", re.ASCII)
_IDLE = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)%/(\w{1,30})\Z", re.ASCII)
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\Z", re.ASCII)
_NUMBER = re.compile(r"\d{1,12}(\.\d{1,6})?\Z", re.ASCII)


def seconds_of(key: str, text: str) -> int:
    """Seconds of `90m`, `1h30m` or `2d`; a second to a year."""
    found = _DURATION.match(text.strip().lower())
    parts = found.groups() if found and text.strip() else ()
    total = sum(
        int(part) * unit_s for part, unit_s in zip(parts, _UNITS_S.values(), strict=False) if part is not None
    )
    if not 1 <= total <= MAX_DURATION_S:
        raise SettingError(key, text[:60], "a time like 90m, 1h30m or 2d, of a year at most")
    return total


def duration(seconds: float) -> str:
    """Seconds as renters write them, in the two largest units: `1h30m`, `2d4h`, `45s`."""
    left, told = max(0, round(seconds)), []
    for name, unit_s in _UNITS_S.items():
        count, left = divmod(left, unit_s)
        if count:
            told.append(f"{count}{name}")
        if len(told) == 2 or (told and not count):
            break
    return "".join(told) or "0s"


def micro_usd_of(key: str, text: str) -> int:
    """Micro-USD of a decimal number of USD, exactly: no more than six decimals, above zero, a million at most."""
    plain = text.strip().removeprefix("$")
    try:
        value = Decimal(plain) * MICRO if _NUMBER.match(plain) else Decimal(0)
    except InvalidOperation:  # pragma: no cover  the pattern lets nothing of the kind through
        value = Decimal(0)
    if not 0 < value <= MAX_USD * MICRO:
        raise SettingError(
            key, text[:60], "USD above 0 and up to 1,000,000 with at most six decimals, e.g. 1.20"
        )
    return int(value)


def usd(micro_usd: int, decimals: int = 2) -> str:
    """Micro-USD as USD, shown with at least so many decimals and no more than it takes."""
    sign, whole = "-" if micro_usd < 0 else "", abs(micro_usd)
    fraction = f"{whole % MICRO:06d}"
    kept = max(decimals, len(fraction.rstrip("0")))
    return f"{sign}{whole // MICRO}.{fraction[:kept]}"


def short_usd(micro_usd: int) -> str:
    """USD for a table: cents, or four decimals of what is less than ten cents."""
    return (
        f"{micro_usd / MICRO:.2f}"
        if abs(micro_usd) >= MICRO // 10 or not micro_usd
        else f"{micro_usd / MICRO:.4f}"
    )


def idle_of(key: str, text: str) -> tuple[float, int]:
    """Percent and seconds of `5%/30m`: when every card is used less than so much, for so long."""
    found = _IDLE.match(text.strip())
    expected = "a use of the cards and a time, e.g. 5%/30m"
    if not found or not 0 < float(found[1]) <= 100:
        raise SettingError(key, text[:60], expected)
    return float(found[1]), seconds_of(key, found[2])


def moment_of(key: str, text: str, now: datetime) -> datetime:
    """The moment of an ISO time, or of a clock time: the next one on this computer's clock. Always in the future, UTC.

    `now` is aware; its zone is that in which a time without one is read.
    """
    clock = _CLOCK.match(text.strip())
    if clock:
        found = datetime.combine(now.date(), time(int(clock[1]), int(clock[2])), now.tzinfo)
        return (found if found > now else found + timedelta(days=1)).astimezone(UTC)
    try:
        given = datetime.fromisoformat(text.strip())
        found = (given if given.tzinfo else given.replace(tzinfo=now.tzinfo)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise SettingError(key, text[:60], "a time like 18:30 or 2026-10-09T18:30") from None
    if not now < found <= now + timedelta(seconds=MAX_DURATION_S):
        raise SettingError(key, text[:60], "a moment within the next year")
    return found
