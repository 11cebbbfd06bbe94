"""Whose fault it is that a lease broke, and what its renter gets back for it. Pure.

    what was seen                                      party      credit
    container gone, dead, stopped, killed, paused      machine    the time since it was last seen well, and the goodwill
    no answer of the machine, a proof that failed      machine    likewise
    our own step failed                                platform   likewise, from the platform alone
    ran out of memory                                  renter     none
    never handed over                                  any        none: nothing was charged
    asked for, a limit, a spot lease that gives way    nobody     none

A container whose program ends by itself lives on, and one whose first process is ended from inside is started again by its
engine: what stays ended was stopped from outside. The goodwill is `goodwill_s` of the lease's price. Nobody gets back more than the lease cost.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from storage.rental import Party, Rental
from tasks.policy import RentingPolicy
from tasks.renting.metering import HOUR_S, cost_micro_usd, paid_seconds

SELF_INFLICTED = frozenset({"out of memory"})
"""Ends of a container that come from what runs in it."""


def party_of(dead: str) -> Party:
    """Whose fault a container's end is, by how it was found."""
    return Party.RENTER if dead in SELF_INFLICTED else Party.MACHINE


def credit_s(rental: Rental, party: Party, well_at: datetime | None, policy: RentingPolicy) -> int:
    """Paid seconds at the end of a lease that its renter gets back; `well_at`: when it was last seen well."""
    ended_at = rental.end_asked_at or rental.ended_at
    if party not in (Party.MACHINE, Party.PLATFORM) or rental.active_at is None or ended_at is None:
        return 0
    well_at = max(well_at or rental.active_at, rental.active_at)
    unwell_s = max(0, (ended_at - well_at) // timedelta(seconds=1))
    if rental.stopped_at is not None:
        unwell_s = 0  # it stood still, and cost nothing
    return min(paid_seconds(rental, ended_at), unwell_s + policy.goodwill_s)


def credit_micro_usd(rental: Rental, party: Party, well_at: datetime | None, policy: RentingPolicy) -> int:
    """What they cost; never more than the lease did."""
    ended_at = rental.end_asked_at or rental.ended_at
    if ended_at is None:
        return 0
    cost = cost_micro_usd(rental, ended_at)
    left_s = paid_seconds(rental, ended_at) - credit_s(rental, party, well_at, policy)
    return max(0, cost - rental.micro_usd_per_hour * left_s // HOUR_S)
