"""What the ledger says, summed up: whether the books are even, what a renter paid in a month, what a lease cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Books:
    """All of the ledger, checked: every transfer sums to zero in each unit, and so does the whole."""

    transfers: int
    entries: int
    micro_usd: int
    """The sum over all entries."""
    rao: int
    uneven: tuple[str, ...]
    """Transfers that do not sum to zero or have no two sides; the first hundred."""

    @property
    def is_even(self) -> bool:
        """Whether no money came from nowhere."""
        return self.micro_usd == 0 and self.rao == 0 and not self.uneven


@dataclass(frozen=True, slots=True)
class Line:
    """All transfers of one kind about one lease, as an account sees them."""

    account: str
    lease_id: str
    """Empty: about none."""
    kind: str
    micro_usd: int
    """Above 0: the account got it."""
    rao: int
    transfers: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Invoice:
    """An account over a stretch of time: opening + lines = closing."""

    account: str
    since: datetime
    until: datetime
    """Not included."""
    opening_micro_usd: int
    closing_micro_usd: int
    lines: tuple[Line, ...]
