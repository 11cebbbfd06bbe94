"""What of a lease is paid, to the second, and what it costs. Pure.

    paid seconds = those of finished intervals + those of the running one, up to whatever ends first
    cost = floor(price x paid seconds / 3,600), never above the cap

Paid is from hand-over to stop, and again from each start. The running interval ends, whoever looks late, at the moment
at which the end was asked for, at `ends_by`, and at the end of the TTL: a watch that was away charges nobody for longer
than was agreed. A reserved lease that is stopped is paid until its committed hours are over. Since only whole seconds of
whole intervals count, metering in a thousand steps or in one comes to the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from storage.rental import Mode, Rental, RentalState

HOUR_S = 3_600
FOR_EVER_S = 1 << 40


def paid_seconds(rental: Rental, now: datetime) -> int:
    """Whole seconds that are to be paid up to this moment."""
    return rental.paid_s + _running_s(rental, now)


def cost_micro_usd(rental: Rental, now: datetime) -> int:
    """What the lease costs up to this moment, in all."""
    cost = rental.micro_usd_per_hour * paid_seconds(rental, now) // HOUR_S
    return min(cost, rental.terms.cap_micro_usd) if rental.terms.cap_micro_usd else cost


def committed_s(rental: Rental) -> int:
    """Seconds that a reserved lease is paid in any case; 0 for others."""
    return rental.wish.hours * HOUR_S if rental.wish.mode is Mode.RESERVED else 0


def committed_micro_usd(rental: Rental) -> int:
    """What they cost: paid ahead, into the lease's escrow."""
    return rental.micro_usd_per_hour * committed_s(rental) // HOUR_S


def limit_at(rental: Rental) -> datetime | None:
    """When the renter's own limits of time end it; None: they don't."""
    ends = [] if rental.ends_by is None else [rental.ends_by]
    if rental.terms.ttl_s and rental.active_at is not None:
        ends.append(rental.active_at + timedelta(seconds=rental.terms.ttl_s))
    return min(ends, default=None)


def seconds_for(micro_usd: int, micro_usd_per_hour: int) -> int:
    """The most whole seconds that cost no more than this: one more would."""
    if micro_usd_per_hour <= 0:
        return FOR_EVER_S
    return max(0, ((micro_usd + 1) * HOUR_S - 1) // micro_usd_per_hour)


def affordable_s(balance_micro_usd: int, micro_usd_per_hour: int) -> int:
    """Whole seconds that a balance pays for at this price; a free lease lasts for ever."""
    if micro_usd_per_hour <= 0:
        return FOR_EVER_S
    return max(0, balance_micro_usd) * HOUR_S // micro_usd_per_hour


def burn_micro_usd_per_hour(rental: Rental, now: datetime) -> int:
    """What it takes from its renter's balance in an hour from now on: nothing while it is stopped or prepaid."""
    is_paid = rental.paid_from is not None and rental.state is RentalState.ACTIVE
    is_prepaid = paid_seconds(rental, now) < committed_s(rental)
    return rental.micro_usd_per_hour if is_paid and not is_prepaid else 0


def unposted_micro_usd(lease: Rental, metered_micro_usd: int, now: datetime) -> int:
    """What a lease has cost its renter's balance since it was last charged: committed hours are paid from the escrow."""
    prepaid = committed_micro_usd(lease) if lease.active_at is not None else 0
    return max(0, cost_micro_usd(lease, now) - max(metered_micro_usd, prepaid))


def _running_s(rental: Rental, now: datetime) -> int:
    if rental.paid_from is None:
        return 0
    ends = (now, rental.end_asked_at, rental.ended_at, limit_at(rental))
    end = min(moment for moment in ends if moment is not None)
    seconds = _whole_s(rental.paid_from, end)
    if rental.state is not RentalState.STOPPED:
        return seconds
    # Only what is reserved is paid while it stands still, and only as long as it is committed.
    until_stop = _whole_s(rental.paid_from, rental.stopped_at or end)
    return min(seconds, max(until_stop, committed_s(rental) - rental.paid_s))


def _whole_s(since: datetime, until: datetime) -> int:
    return max(0, (until - since) // timedelta(seconds=1))
