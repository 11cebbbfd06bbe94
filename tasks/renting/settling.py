"""Moving a lease's money in the ledger: before its hand-over, while it runs, and at its end. Each may be repeated at will.

    commit    before the hand-over is kept: a reserved lease's hours go into its escrow
    charge    while it runs: what is due up to now
    settle    once its end is asked for, or it has failed: the last charge, the credit of a fault, what the escrow leaves

All of it follows from the lease and from when it was last seen well, so that two who settle the same lease, or one who
was killed half way and another after it, come to the same transfers, which the ledger takes once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from storage.health import Health, LeaseHealth
from storage.money import Money
from storage.rental import Mode, Party, Rental
from storage.statements import Line
from tasks.policy import RentingPolicy
from tasks.renting.faults import credit_micro_usd
from tasks.renting.metering import cost_micro_usd
from tasks.renting.money import PPM, committed, credited, escrow, metered, overcharged, released, renter


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a lease came to."""

    cost_micro_usd: int
    """Charged in all, the part of unused hours that is paid all the same among it."""
    credit_micro_usd: int
    """Given back for a fault."""
    back_micro_usd: int
    """Of the escrow, back to the renter."""


def commit(money: Money, rental: Rental, now: datetime) -> None:
    """Pay the committed hours ahead, for the lease as it will be handed over; nothing for one that commits to none.

    ShortOfFunds when the balance does not reach: nothing has moved, and the lease can't be handed over.
    """
    if rental.wish.mode is Mode.RESERVED:
        transfer = committed(rental, now, money.balance(escrow(rental)))
        if transfer is not None:
            money.post(transfer, floor_micro_usd=0)


def charge(money: Money, rental: Rental, now: datetime, policy: RentingPolicy) -> int:
    """Charge what is due up to now; what was moved, in micro-USD.

    `now` must be from before the lease was loaded: an end that was asked for later is then never charged beyond.
    """
    before = money.metered(rental.lease_id)
    transfer = metered(rental, before, now, policy.platform_ppm)
    if transfer is None or not money.post(transfer):
        return 0
    return sum(entry.micro_usd for entry in transfer.entries if entry.micro_usd > 0)


def settle(
    money: Money, health: LeaseHealth, rental: Rental, now: datetime, policy: RentingPolicy
) -> Settlement:
    """Close a lease's account once nothing more will be paid: its end is asked for, or it has failed."""
    ended_at = rental.end_asked_at or rental.ended_at
    if ended_at is None:
        raise ValueError(f"lease {rental.lease_id} is {rental.state}: its end was not asked for")
    if rental.active_at is not None:
        _charge_all(money, rental, ended_at, policy)
        _correct(money, rental, cost_micro_usd(rental, ended_at), now, policy)
        _credit(money, health.get(rental.lease_id), rental, now, policy)
    _release(money, rental, now, policy)
    return settlement_of(rental, money.bill(rental.lease_id))


def settlement_of(rental: Rental, bill: Iterable[Line]) -> Settlement:
    """What a lease came to, from the lines of its bill."""
    own = [line for line in bill if line.account == renter(rental.renter_id)]
    credit = sum(line.micro_usd for line in own if line.kind == "CREDIT")
    back = sum(line.micro_usd for line in own if line.kind == "RELEASE")
    return Settlement(-sum(line.micro_usd for line in own) + credit, credit, back)


def _charge_all(money: Money, rental: Rental, until: datetime, policy: RentingPolicy) -> None:
    """Charge what is due, all of it: who charges at the same moment takes the name of ours, and what is left has another."""
    while transfer := metered(rental, money.metered(rental.lease_id), until, policy.platform_ppm):
        money.post(transfer)


def _correct(money: Money, rental: Rental, cost_micro_usd: int, now: datetime, policy: RentingPolicy) -> None:
    """Give back what a charge took that raced with the end, and saw the lease as it was before it."""
    total = money.metered(rental.lease_id)
    own = (line for line in money.bill(rental.lease_id) if line.account == renter(rental.renter_id))
    corrected = sum(line.micro_usd for line in own if line.kind == "CORRECTION")
    over = total - corrected - cost_micro_usd
    transfer = overcharged(rental, over, now, policy.platform_ppm, f"{total}")
    if transfer is not None:
        money.post(transfer)


def _credit(
    money: Money, looked: Health | None, rental: Rental, now: datetime, policy: RentingPolicy
) -> None:
    party = _party(rental)
    amount = credit_micro_usd(rental, party, looked.well_at if looked else None, policy)
    reason = rental.end_reason or rental.reason
    is_ours = party is Party.PLATFORM
    transfer = credited(rental, amount, now, policy.platform_ppm, reason, by_platform=is_ours)
    if transfer is not None:
        money.post(transfer)


def _release(money: Money, rental: Rental, now: datetime, policy: RentingPolicy) -> None:
    """Empty the escrow. Of hours that the renter leaves unused a part is paid all the same, within the cap."""
    left = money.balance(escrow(rental))
    is_broken = _party(rental) in (Party.MACHINE, Party.PLATFORM) or rental.active_at is None
    kept = 0 if is_broken else left * policy.early_end_ppm // PPM
    if rental.terms.cap_micro_usd:
        kept = min(kept, max(0, rental.terms.cap_micro_usd - money.metered(rental.lease_id)))
    transfer = released(rental, left, kept, now, policy.platform_ppm)
    if transfer is not None:
        money.post(transfer)


def _party(rental: Rental) -> Party:
    return rental.end_party if rental.end_asked_at is not None else rental.party
