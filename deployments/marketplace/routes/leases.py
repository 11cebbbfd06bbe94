"""Leases: asked for, looked at, limited, ended."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from deployments.marketplace import cursors, views
from deployments.marketplace.fields import usd
from deployments.marketplace.guard import Caller, OfDesk, Reads, Rents
from deployments.marketplace.idempotency import IdempotencyKey, check_same
from deployments.marketplace.leasing import request_lease
from deployments.marketplace.market import Desk
from deployments.marketplace.models import Bill, Certificate, Lease, LeaseBody, LeaseChange, Page
from deployments.marketplace.problems import Refused, responses
from deployments.marketplace.routes.common import Cursor, LeaseId, Limit, own_lease
from storage.rental import Party, Rental, RentalState
from storage.renter import Scope
from tasks.renting.api_keys import allows
from tasks.renting.asking import amend, ask_end
from tasks.renting.metering import cost_micro_usd
from tasks.renting.money import renter

router = APIRouter(tags=["leases"])
_AWAY = "kept: it begins when the orchestrator, which does not answer now, is back"
_WAITS = "kept: it begins as soon as a worker takes it"


@router.post(
    "/v1/leases",
    status_code=202,
    summary="Ask for a lease",
    responses={**responses(402, 404, 409), 202: {"description": "Kept; `state` tells how far it is"}},
)
def ask(
    request: Request, response: Response, body: LeaseBody, key: IdempotencyKey, caller: Rents, desk: OfDesk
) -> Lease:
    """Answered at once: a machine is found, proved and set up behind it. Nothing is charged before it is handed over."""
    caller.check_not_stopped()
    check_same(desk, request, caller, key, body)
    lease = request_lease(desk, desk.catalogue.snapshot(), caller.renter_id, key, body)
    desk.market.starter.poke()
    response.headers["Location"] = f"/v1/leases/{lease.lease_id}"
    return show(desk, caller, [lease])[0]


@router.get("/v1/leases", summary="List your leases", responses=responses())
def list_leases(
    caller: Reads,
    desk: OfDesk,
    state: Annotated[list[RentalState] | None, Query(max_length=8, description="Only in these.")] = None,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Page[Lease]:
    """Newest first."""
    before = None
    if cursor:
        at, lease_id = cursors.decode(cursor, str, str)
        before = (_moment(str(at)), str(lease_id))
    found = desk.stores.rentals.page(caller.renter_id, limit + 1, state or (), before)
    page = found[:limit]
    rest = (
        cursors.encode(page[-1].requested_at.isoformat(), page[-1].lease_id) if len(found) > limit else None
    )
    return Page(items=tuple(show(desk, caller, page)), next_cursor=rest)


@router.get("/v1/leases/{lease_id}", summary="Look at a lease", responses=responses(404))
def get(lease_id: LeaseId, caller: Reads, desk: OfDesk) -> Lease:
    """As it stands now, with the steps of the attempt to provide it."""
    return show(desk, caller, [own_lease(desk, caller, lease_id)])[0]


@router.patch("/v1/leases/{lease_id}", summary="Change a lease's limits", responses=responses(404, 409))
def change(lease_id: LeaseId, body: LeaseChange, caller: Rents, desk: OfDesk) -> Lease:
    """Extend it, or end it earlier; what is not given stays."""
    lease, now = own_lease(desk, caller, lease_id), desk.market.now()
    given = body.model_dump(exclude_unset=True)
    ends_by = given.pop("ends_by", lease.ends_by)
    if "ends_by" in body.model_fields_set and ends_by is not None and ends_by <= now:
        raise Refused(
            422, "IN_THE_PAST", "body.ends_by has passed already", "give a later time, or DELETE the lease"
        )
    terms = {name: value for name, value in given.items() if value is not None}
    amended = amend(desk.stores.rentals, lease_id, now, ends_by, **terms)
    assert amended is not None
    return show(desk, caller, [amended])[0]


@router.delete("/v1/leases/{lease_id}", status_code=202, summary="End a lease", responses=responses(404))
def end(lease_id: LeaseId, caller: Rents, desk: OfDesk) -> Lease:
    """In any state; it is paid until now. Again, or of one that is over, it changes nothing."""
    own_lease(desk, caller, lease_id)
    ended = ask_end(desk.stores.rentals, lease_id, desk.market.now(), Party.RENTER, "ended by its renter")
    assert ended is not None
    desk.market.starter.poke()
    return show(desk, caller, [ended])[0]


@router.get(
    "/v1/leases/{lease_id}/bill", summary="What a lease has cost", responses=responses(404), tags=["money"]
)
def bill(lease_id: LeaseId, caller: Reads, desk: OfDesk) -> Bill:
    """Line by line, and what was used since the last line."""
    lease = own_lease(desk, caller, lease_id)
    account = renter(caller.renter_id)
    lines = tuple(views.line(one, account) for one in desk.stores.money.of_lease(lease_id))
    total = sum(line.micro_usd for line in lines)
    unbilled = max(0, cost_micro_usd(lease, desk.market.now()) - desk.stores.money.metered(lease_id))
    return Bill(
        lease_id=lease_id,
        lines=lines,
        micro_usd=total,
        usd=usd(total),
        unbilled_micro_usd=unbilled,
        unbilled_usd=usd(unbilled),
    )


@router.get(
    "/v1/leases/{lease_id}/certificate", summary="The proof of the cards rented", responses=responses(404)
)
def certificate(lease_id: LeaseId, caller: Reads, desk: OfDesk) -> Certificate:
    """With everything that is needed to judge it again, without us."""
    own_lease(desk, caller, lease_id)
    return views.certificate(lease_id, desk.stores.certificates.of_lease(lease_id))


def show(desk: Desk, caller: Caller, leases: Sequence[Rental]) -> list[Lease]:
    """Leases as this caller may see them."""
    names = [lease.lease_id for lease in leases]
    queued, steps = desk.stores.works.waiting(names), desk.stores.events.steps(names)
    sealer, now = desk.market.sealer, desk.market.now()
    opener = (lambda one: sealer.open(one.lease_id, one.sealed)) if allows(caller.key, Scope.RENT) else None
    why = _AWAY if desk.market.starter.orchestrator == "away" else _WAITS
    return [
        views.lease(
            lease,
            now,
            is_queued=lease.lease_id in queued,
            detail=why if lease.lease_id in queued else "",
            steps=steps.get(lease.lease_id, ()),
            open_secrets=opener,
        )
        for lease in leases
    ]


def _moment(text: str) -> datetime:
    """The time that a cursor of ours has; Refused for what somebody else made."""
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(text).astimezone(UTC)
    raise Refused(422, "BAD_CURSOR", "this cursor is none of ours", "send `next_cursor` as it is")
