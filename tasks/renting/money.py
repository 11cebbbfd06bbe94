"""The transfers that leases make: who gives, who gets, under which name. Pure: integers of micro-USD.

    COMMIT    renter -> escrow:<lease>                 a reserved lease's committed hours, before its hand-over
    METER     escrow, then renter -> miner, platform   what is due since the last one
    CREDIT    miner, platform -> renter                what a fault of theirs took
    CORRECTION  the same                               what was metered beyond the end
    RELEASE   escrow -> renter (miner, platform)       what the committed hours leave, at the end
    DEPOSIT   outside -> renter                        from the chain, or an operator's credit

Each is named by what it is for, so that whoever repeats it moves nothing a second time: a metering by what was metered
before it, all others by their lease.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from storage.rental import Entry, Rental, Transfer
from tasks.renting.metering import committed_micro_usd, cost_micro_usd, paid_seconds

OUTSIDE, PLATFORM, UNCLAIMED, TREASURY = "outside", "platform", "unclaimed", "treasury"
PPM = 1_000_000


def renter(renter_id: str) -> str:
    """The account of a renter."""
    return f"renter:{renter_id}"


def miner(executor_key: str) -> str:
    """The account of a machine's miner."""
    return f"miner:{executor_key.partition('/')[0]}"


def escrow(rental: Rental) -> str:
    """The account of a lease's committed hours."""
    return f"escrow:{rental.lease_id}"


def committed(rental: Rental, now: datetime, escrowed_micro_usd: int = 0) -> Transfer | None:
    """The committed hours of a reserved lease, paid ahead, where the escrow has not got them; None when nothing is to move.

    To be posted with a floor of 0, before the hand-over is kept. What an attempt that died paid at another price is made up
    for: more is paid, or some comes back.
    """
    amount = committed_micro_usd(rental) - escrowed_micro_usd
    if amount == 0:
        return None
    entries = (Entry(renter(rental.renter_id), -amount), Entry(escrow(rental), amount))
    message = f"{rental.wish.hours} h at {rental.micro_usd_per_hour} micro-USD an hour"
    name = f"commit:{rental.lease_id}:{rental.attempt}"
    return _about(rental, name, now, "COMMIT", entries, message=message)


def metered(rental: Rental, metered_micro_usd: int, now: datetime, platform_ppm: int) -> Transfer | None:
    """What is due since `metered_micro_usd` were; None when nothing is. `platform_ppm`: the platform's part, in millionths."""
    due = cost_micro_usd(rental, now) - metered_micro_usd
    if due <= 0:
        return None
    prepaid = min(due, max(0, committed_micro_usd(rental) - metered_micro_usd))
    entries = (
        *_given(escrow(rental), prepaid),
        *_given(renter(rental.renter_id), due - prepaid),
        *_shared(rental, due, platform_ppm),
    )
    name = f"meter:{rental.lease_id}:{metered_micro_usd}"
    return _about(rental, name, now, "METER", entries, message=f"up to second {paid_seconds(rental, now)}")


def credited(
    rental: Rental, micro_usd: int, now: datetime, platform_ppm: int, reason: str, *, by_platform: bool
) -> Transfer | None:
    """What is given back to the renter at the end: by the platform alone, or by both in their shares. None for nothing."""
    if micro_usd <= 0:
        return None
    givers = [Entry(PLATFORM, micro_usd)] if by_platform else _shared(rental, micro_usd, platform_ppm)
    entries = (
        *(Entry(entry.account, -entry.micro_usd) for entry in givers),
        Entry(renter(rental.renter_id), micro_usd),
    )
    return _about(rental, f"credit:{rental.lease_id}", now, "CREDIT", entries, message=reason)


def overcharged(
    rental: Rental, too_much_micro_usd: int, now: datetime, platform_ppm: int, name: str
) -> Transfer | None:
    """What was metered beyond the cost, back to the renter: a charge that raced with the end. None for nothing."""
    if too_much_micro_usd <= 0:
        return None
    shares = _shared(rental, too_much_micro_usd, platform_ppm)
    entries = (
        *(Entry(entry.account, -entry.micro_usd) for entry in shares),
        Entry(renter(rental.renter_id), too_much_micro_usd),
    )
    return _about(
        rental,
        f"correct:{rental.lease_id}:{name}",
        now,
        "CORRECTION",
        entries,
        message="charged beyond the end",
    )


def released(
    rental: Rental, left_micro_usd: int, kept_micro_usd: int, now: datetime, platform_ppm: int
) -> Transfer | None:
    """What the escrow still has, at the end: `kept` of it is paid all the same, the rest goes back. None for nothing."""
    if left_micro_usd <= 0:
        return None
    back = left_micro_usd - kept_micro_usd
    entries = (
        *_given(escrow(rental), left_micro_usd),
        *([Entry(renter(rental.renter_id), back)] if back else []),
        *_shared(rental, kept_micro_usd, platform_ppm),
    )
    name = f"release:{rental.lease_id}:{rental.attempt}"
    return _about(rental, name, now, "RELEASE", entries, message="committed hours that were not used")


def deposit(
    renter_id: str, micro_usd: int, extrinsic_id: str, now: datetime, *, rao: int = 0, message: str = ""
) -> Transfer:
    """A confirmed transfer on the chain, credited once: it is named by its extrinsic. Its rao leave `unclaimed`."""
    entries = (
        Entry(OUTSIDE, -micro_usd),
        Entry(renter(renter_id), micro_usd),
        *([Entry(UNCLAIMED, 0, -rao), Entry(TREASURY, 0, rao)] if rao else []),
    )
    return Transfer(f"deposit:{extrinsic_id}", now, "DEPOSIT", entries, message=message or extrinsic_id)


def received(rao: int, extrinsic_id: str, now: datetime) -> Transfer:
    """The rao of a confirmed transfer, whoever it is for: they are on the deposit address."""
    entries = (Entry(OUTSIDE, 0, -rao), Entry(UNCLAIMED, 0, rao))
    return Transfer(f"received:{extrinsic_id}", now, "RECEIVED", entries, message=extrinsic_id)


def granted(renter_id: str, micro_usd: int, name: str, now: datetime, reason: str) -> Transfer:
    """An operator's credit, or with an amount below 0 its correction; `name` makes it one, whoever repeats it."""
    entries = (Entry(OUTSIDE, -micro_usd), Entry(renter(renter_id), micro_usd))
    return Transfer(f"grant:{name}", now, "GRANT", entries, message=reason)


def _given(account: str, micro_usd: int) -> Iterable[Entry]:
    return [Entry(account, -micro_usd)] if micro_usd else []


def _shared(rental: Rental, micro_usd: int, platform_ppm: int) -> list[Entry]:
    """The miner's and the platform's parts."""
    fee = micro_usd * platform_ppm // PPM
    parts = [Entry(miner(rental.executor_key), micro_usd - fee), Entry(PLATFORM, fee)]
    return [part for part in parts if part.micro_usd]


def _about(
    rental: Rental, name: str, now: datetime, kind: str, entries: tuple[Entry, ...], *, message: str
) -> Transfer:
    return Transfer(name, now, kind, entries, lease_id=rental.lease_id, message=message)
