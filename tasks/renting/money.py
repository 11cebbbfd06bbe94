"""What a lease costs and who gets it, as transfers. Pure: integers of micro-USD, to the second.

A lease costs floor(price x seconds / 3,600) from its hand-over to any moment, so that metering it in a thousand steps or
in one comes to the same, and no step can be counted twice: a step is named by the second up to which it counts.
"""

from __future__ import annotations

from datetime import datetime

from storage.rental import Entry, Rental, Transfer

HOUR_S = 3_600
OUTSIDE, PLATFORM = "outside", "platform"
PPM = 1_000_000


def renter(renter_id: str) -> str:
    """The account of a renter."""
    return f"renter:{renter_id}"


def miner(executor_key: str) -> str:
    """The account of a machine's miner."""
    return f"miner:{executor_key.partition('/')[0]}"


def cost_micro_usd(rental: Rental, until: datetime) -> int:
    """What the lease costs from its hand-over to this moment, or to its end if that was before."""
    if rental.active_at is None:
        return 0
    end = min(until, rental.ended_at) if rental.ended_at else until
    seconds = max(0, int((end - rental.active_at).total_seconds()))
    return rental.micro_usd_per_hour * seconds // HOUR_S


def metered(rental: Rental, charged_micro_usd: int, now: datetime, platform_ppm: int) -> Transfer | None:
    """What is due since the last metering; None when nothing is. `platform_ppm`: the platform's part, in millionths."""
    due = cost_micro_usd(rental, now) - charged_micro_usd
    if due <= 0:
        return None
    fee = due * platform_ppm // PPM
    return Transfer(
        transfer_id=f"meter:{rental.lease_id}:{charged_micro_usd}",
        at=now,
        kind="METER",
        entries=(
            Entry(renter(rental.renter_id), -due),
            Entry(miner(rental.executor_key), due - fee),
            *([Entry(PLATFORM, fee)] if fee else []),
        ),
        lease_id=rental.lease_id,
    )


def deposit(renter_id: str, micro_usd: int, extrinsic_id: str, now: datetime) -> Transfer:
    """A confirmed transfer on the chain, credited once: it is named by its extrinsic."""
    entries = (Entry(OUTSIDE, -micro_usd), Entry(renter(renter_id), micro_usd))
    return Transfer(f"deposit:{extrinsic_id}", now, "DEPOSIT", entries, message=extrinsic_id)


def credit_note(rental: Rental, meter: Transfer, share_ppm: int, reason: str, now: datetime) -> Transfer:
    """A share of one metering given back, from everybody who got a part of it."""
    back = [
        Entry(entry.account, -(entry.micro_usd * share_ppm // PPM))
        for entry in meter.entries
        if entry.micro_usd > 0
    ]
    total = -sum(entry.micro_usd for entry in back)
    return Transfer(
        transfer_id=f"credit:{meter.transfer_id}",
        at=now,
        kind="CREDIT_NOTE",
        entries=(*(entry for entry in back if entry.micro_usd), Entry(renter(rental.renter_id), total)),
        lease_id=rental.lease_id,
        message=reason,
    )


def affordable_s(balance_micro_usd: int, micro_usd_per_hour: int) -> int:
    """Whole seconds that a balance pays for at this price; a free lease lasts for ever."""
    if micro_usd_per_hour <= 0:
        return 1 << 40
    return max(0, balance_micro_usd) * HOUR_S // micro_usd_per_hour
