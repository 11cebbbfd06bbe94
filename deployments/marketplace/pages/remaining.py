"""How long a lease goes on by itself, and what its cap and its renter's balance leave for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from deployments.marketplace.models import Balance
from storage.rental import Rental, RentalState
from tasks.renting.metering import affordable_s, cost_micro_usd, limit_at

MOST_S = 10 * 366 * 86_400
"""What lasts longer has no end that anybody waits for."""


@dataclass(frozen=True, slots=True)
class End:
    """Something that ends or stops a lease, if nothing is done about it."""

    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left of a lease."""

    ends: tuple[End, ...]
    """The first one counts."""
    cap_left_micro_usd: int | None
    """None: it has no cap."""
    balance_micro_usd: int | None
    """None: not told to who may not look at money."""


def remaining(lease: Rental, balance: Balance | None, now: datetime) -> Remaining:
    """At its present price, and with all that its renter runs at theirs."""
    cap = lease.terms.cap_micro_usd
    left = max(0, cap - cost_micro_usd(lease, now)) if cap else None
    is_running = lease.state is RentalState.ACTIVE and lease.paid_from is not None
    moments = [
        (lease.notice_until, "it is taken away"),
        (limit_at(lease), "its time is over"),
        (
            _after(now, affordable_s(left, lease.micro_usd_per_hour))
            if is_running and left is not None
            else None,
            "its cap is reached",
        ),
        (
            _after(now, balance.lasts_s) if is_running and balance and balance.lasts_s is not None else None,
            "the balance is used up",
        ),
    ]
    ends = sorted((End(at, why) for at, why in moments if at is not None), key=lambda end: end.at)
    return Remaining(tuple(ends), left, balance.micro_usd if balance else None)


def _after(now: datetime, seconds: int) -> datetime | None:
    return now + timedelta(seconds=seconds) if seconds <= MOST_S else None
