"""Finding a machine for a request, and holding its cards: by compare-and-set, so that a lost race costs one more look.

offers that fit, free, paid for -> the best one's cards held | nobody left: failed, with what each machine tried came to
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from storage.errors import CardsTaken
from storage.rental import Happening, Offer, Party, Rental, RentalState, VolumeState
from storage.rentals import Rentals
from tasks.renting.jobs import Job
from tasks.renting.limits import Funds, is_short
from tasks.renting.market import Market
from tasks.renting.matching import Candidate, candidates
from tasks.renting.metering import burn_micro_usd_per_hour, committed_micro_usd, unposted_micro_usd
from tasks.renting.money import escrow
from tasks.renting.money import renter as account_of
from tasks.renting.moves import failed, reserved
from tasks.renting.offering import demand_of
from tasks.renting.preempting import give_notice, giving_way
from tasks.renting.settling import settle
from tasks.stepping import step

LET_GO = "REQUESTED"
"""The event of a lease that let its machine go: its message is why."""


@step("reserve", deadline_s=120.0)
async def reserve(job: Job) -> bool:
    """Hold the cards of the best machine that is left; False when there is none: the lease has failed, or it waits."""
    if job.lease.state is not RentalState.REQUESTED:
        return True
    return await job.market.call(lambda: _reserve(job))


def _reserve(job: Job) -> bool:
    job.claim(0)
    while True:
        lease = job.refresh()
        why = _exhausted(job)
        fit = () if why else find(job.market, lease)
        if not fit and not why and _is_made_way_for(job):
            return False
        if not fit:
            give_up(job, Party.NOBODY, why or nothing_fits(job.market, lease))
            return False
        if _is_short(job.market, lease, fit[0]):
            give_up(job, Party.RENTER, "reserve: the balance does not last for the least time at this price")
            return False
        try:
            _hold(job, fit[0])
        except CardsTaken:
            continue  # another request was faster: look again, it holds them now
        return True


def _is_made_way_for(job: Job) -> bool:
    """Whether spot leases give way to this one: they get their notice, and it waits until their cards are free."""
    market, lease, now = job.market, job.lease, job.market.now()
    offers = _with_its_volumes(market, lease, market.offering.offers(now))
    found = giving_way(lease, offers, market.rentals.held(), market.rentals.open())
    if found is None or not _can_pay(
        market, lease, [o for o in offers if o.executor_key == found.executor_key]
    ):
        return False
    for spot in found.leases:
        why = f"lease {lease.lease_id} pays the full price"
        give_notice(market.rentals, spot, now, market.policy.renting, why)
    if found.leases:
        told = f"{len(found.leases)} spot leases on {found.executor_key} give way"
        job.note(Happening("WAITING", told))
    return True


def _can_pay(market: Market, lease: Rental, offers: Iterable[Offer]) -> bool:
    """Whether it could pay for a machine that others have: nobody gives way to who could not."""
    fit = candidates(lease, offers, {}, market.policy.renting, {})
    return bool(fit) and not _is_short(market, lease, fit[0])


def _hold(job: Job, chosen: Candidate) -> None:
    now = job.market.now()
    job.advance(lambda one: reserved(one, chosen.offer, chosen.card_uuids, now, chosen.micro_usd_per_hour))


def find(market: Market, lease: Rental) -> tuple[Candidate, ...]:
    """The machines that fit and are free now, the best first."""
    offers, held = market.offering.offers(market.now()), market.rentals.held()
    demand = demand_of(offers, held)
    return candidates(lease, _with_its_volumes(market, lease, offers), held, market.policy.renting, demand)


def _with_its_volumes(market: Market, lease: Rental, offers: Iterable[Offer]) -> tuple[Offer, ...]:
    """The offers of the machine that the lease's volumes are on; all where none of them is anywhere yet."""
    mounted = (market.volumes.get(lease.renter_id, mount.volume) for mount in lease.pod.mounts)
    places = {v.executor_key for v in mounted if v is not None and v.state is VolumeState.KEPT}
    return tuple(offer for offer in offers if not places or places == {offer.executor_key})


def _is_short(market: Market, lease: Rental, chosen: Candidate) -> bool:
    meant = replace(lease, micro_usd_per_hour=chosen.micro_usd_per_hour)
    funds = funds_for(market, lease)
    is_prepaid = committed_micro_usd(meant)
    return is_short(meant, funds, market.policy.renting) or funds.available_micro_usd < is_prepaid


def funds_for(market: Market, lease: Rental) -> Funds:
    """What a lease could be paid from: what its renter has, and what it has paid ahead for this very lease already."""
    funds = _funds_of(market, lease.renter_id)
    ahead = market.money.balance(escrow(lease))
    return replace(funds, available_micro_usd=funds.available_micro_usd + ahead)


def _funds_of(market: Market, renter_id: str) -> Funds:
    """What a renter has now: its balance less what its leases have cost since they were last charged."""
    now = market.now()
    own = [one for one in _open_of(market.rentals, renter_id) if one.active_at is not None]
    metered = market.money.metered_by_lease(one.lease_id for one in own)
    unposted = sum(unposted_micro_usd(one, metered.get(one.lease_id, 0), now) for one in own)
    burn = sum(burn_micro_usd_per_hour(one, now) for one in own)
    return Funds(market.money.balance(account_of(renter_id)) - unposted, burn)


def _open_of(rentals: Rentals, renter_id: str) -> tuple[Rental, ...]:
    return tuple(one for one in rentals.open() if one.renter_id == renter_id)


def _exhausted(job: Job) -> str:
    """Why no further machine is tried; empty: one is."""
    policy = job.market.policy.renting
    if len(job.lease.tried) >= policy.most_tries:
        return f"{len(job.lease.tried)} machines have failed it"
    if time.monotonic() - job.began > policy.rent_s:
        return f"nothing was up within {policy.rent_s:.0f} s"
    return ""


def nothing_fits(market: Market, lease: Rental) -> str:
    """Why there is no machine, in words: none is offered, none fits, or none that fits is free."""
    offers = market.offering.offers(market.now())
    if not offers:
        return "reserve: no machine is offered: no epoch has proved one"
    fit = candidates(replace(lease, tried=()), offers, {}, market.policy.renting, demand_of(offers, {}))
    if not fit:
        return f"reserve: none of {len(offers)} machines offers what was asked for at this price"
    return f"reserve: no machine is free, of {len(fit)} that fit"


def give_up(job: Job, party: Party, why: str) -> None:
    """Fail the request for good, with what came of each machine that was tried; nothing is charged."""
    reason = "; ".join([why, *tried_of(job)])[:2_000]
    now = job.market.now()
    lease = job.advance(lambda one: failed(one, now, party, reason))
    settle(job.market.money, job.market.health, lease, now, job.market.policy.renting)


def tried_of(job: Job) -> list[str]:
    """What each machine tried came to, from the lease's own events."""
    events = job.market.events.after(0, lease_id=job.lease.lease_id, limit=10_000)
    reasons = [event.message for event in events if event.kind == LET_GO and event.message]
    return [f"{machine}: {reason}" for machine, reason in zip(job.lease.tried, reasons, strict=False)]
