"""Asking for a lease: from a request to the record that is kept, with everything checked that can be before a machine is."""

from __future__ import annotations

from datetime import datetime

from deployments.marketplace.catalogue import Snapshot
from deployments.marketplace.market import Desk
from deployments.marketplace.models import LeaseBody, WishBody
from deployments.marketplace.pods import make_pod
from deployments.marketplace.problems import Refused
from storage.errors import VolumeBusy
from storage.rental import Rental, RentalState, Terms, Volume, VolumeState, Wish
from tasks.renting.asking import ask_for_lease, new_name
from tasks.renting.matching import candidates
from tasks.renting.money import renter
from tasks.renting.pricing import check_wish

HOUR_S = 3_600


def request_lease(desk: Desk, snapshot: Snapshot, renter_id: str, key: str, body: LeaseBody) -> Rental:
    """Keep the request and the work that follows from it; the lease of this key if there is one."""
    if (found := desk.stores.rentals.of_key(renter_id, key)) is not None:
        return found
    now = desk.market.now()
    made = _record(desk, renter_id, key, body, now)
    check_funds(desk, snapshot, made)
    _make_volumes(desk, made, now)
    found, _ = ask_for_lease(desk.stores.rentals, made)
    return found


def check_funds(desk: Desk, snapshot: Snapshot, wanted: Rental) -> None:
    """Refused when the balance does not pay for the first minutes of the cheapest machine that fits."""
    policy = desk.market.policy.renting
    fit = candidates(wanted, snapshot.offers, snapshot.held, policy, snapshot.demand)
    if not fit:
        return  # the request says why when it is worked on: something may be free by then
    needed = min(one.micro_usd_per_hour for one in fit) * policy.min_balance_s // HOUR_S
    has = desk.stores.money.balance(renter(wanted.renter_id))
    if has < max(needed, 1):
        detail = f"balance is {has / 1e6:.6f} USD, {max(needed, 1) / 1e6:.6f} USD are needed to begin"
        raise Refused(
            402,
            "BALANCE_TOO_LOW",
            detail,
            "transfer TAO as GET /v1/deposit says, or choose a cheaper machine",
        )


def _record(desk: Desk, renter_id: str, key: str, body: LeaseBody, now: datetime) -> Rental:
    wish = _wish(body.wish)
    check_wish(wish, desk.market.policy.renting)
    if body.ends_by is not None and body.ends_by <= now:
        raise Refused(422, "IN_THE_PAST", "body.ends_by has passed already", "give a later time")
    pod, kept = make_pod(desk, renter_id, body.pod)
    lease_id = new_name("lease")
    return Rental(
        lease_id=lease_id,
        renter_id=renter_id,
        idempotency_key=key,
        wish=wish,
        state=RentalState.REQUESTED,
        version=0,
        requested_at=now,
        moved_at=now,
        pod=pod,
        terms=Terms(**body.terms.model_dump()),
        sealed=desk.market.sealer.seal(lease_id, kept.values),
        ends_by=body.ends_by,
    )


def _wish(body: WishBody) -> Wish:
    return Wish(**{**body.model_dump(), "executor_key": body.executor_key or ""})


def _make_volumes(desk: Desk, wanted: Rental, now: datetime) -> None:
    """The volumes that it mounts, where there are none yet; VolumeBusy when another lease has one of them."""
    for mount in wanted.pod.mounts:
        volume = Volume(wanted.renter_id, mount.volume, "", now, is_kept=mount.is_kept)
        found, _ = desk.stores.volumes.make(volume)
        if found.lease_id:
            raise VolumeBusy(mount.volume, f"lease {found.lease_id} has it")
        if found.state is VolumeState.DOOMED:
            raise VolumeBusy(mount.volume, "it is being wiped")
