"""Which days a report is about; days are UTC, as the history's partitions are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

MAX_DAYS = 92
FIRST_YEAR, LAST_YEAR = 1971, 9998
"""A period of days before or after these has no first or last day."""


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days, UTC: `days` of them, of which `last` is the newest."""

    last: date
    days: int = 1

    def __post_init__(self) -> None:
        """ValueError for days that no report is made of."""
        if not 1 <= self.days <= MAX_DAYS:
            raise ValueError(f"a report of {self.days} days, possible are 1 to {MAX_DAYS}")
        if not FIRST_YEAR <= self.last.year <= LAST_YEAR:
            raise ValueError(f"a report of {self.last}, possible are the years {FIRST_YEAR} to {LAST_YEAR}")

    @property
    def first(self) -> date:
        """The oldest day."""
        return self.last - timedelta(days=self.days - 1)

    @property
    def every_day(self) -> tuple[date, ...]:
        """All days, the oldest first."""
        return tuple(self.first + timedelta(days=n) for n in range(self.days))

    @property
    def begin(self) -> datetime:
        """The first moment of the first day."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first moment after the last day."""
        return self.begin + timedelta(days=self.days)

    @property
    def name(self) -> str:
        """For titles and names of files: 2026-08-01, or 2026-07-26_to_2026-08-01."""
        return f"{self.last}" if self.days == 1 else f"{self.first}_to_{self.last}"

    def __str__(self) -> str:
        return f"{self.last}" if self.days == 1 else f"{self.first} to {self.last}"


def yesterday(now: datetime) -> date:
    """The last day that is over, UTC."""
    return now.astimezone(UTC).date() - timedelta(days=1)
