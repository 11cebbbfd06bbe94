"""What a lease's program prints: its last lines, and those that follow while the page is open."""

from __future__ import annotations

import asyncio
from functools import partial

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from deployments.marketplace import feeds
from deployments.marketplace.console import LogRead, check_running, read_log
from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.mending import reason_of
from deployments.marketplace.pages.visitors import Looks, Visitor, digest_of
from deployments.marketplace.pages.words import printed
from deployments.marketplace.problems import problem_of
from deployments.marketplace.routes.common import LeaseId, own_lease
from storage.rental import Rental, RentalState
from storage.renter import Scope
from tasks.errors import SubnetError, UserError
from tasks.renting.moves import CLOSED

router = page_router()
TAILS = (100, 200, 500, 1_000, 2_000)
"""Lines that a page has at most, to choose from."""
USUAL = 200
PAGE_CHARACTERS = 128 << 10
READ_S = 12.0
_NOTHING = LogRead("", is_truncated=False, behind_ns=-1)


@router.get("/leases/{lease_id}/logs")
async def show_logs(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """The last lines as they are now; a page that can goes on from there."""
    lease = await run_in_threadpool(own_lease, desk, visitor.caller, lease_id)
    tail, has_times = _tail(request), request.query_params.get("times") == "yes"
    read, why_not = await _read(desk, visitor, lease, tail, has_times=has_times)
    return await run_in_threadpool(
        page,
        request,
        "logs.html",
        lease_id=lease_id,
        text=read.text[-PAGE_CHARACTERS:],
        is_cut=read.is_truncated or len(read.text) > PAGE_CHARACTERS,
        behind=max(0, read.behind_ns),
        why_not=why_not,
        is_followed=lease.state is RentalState.ACTIVE and lease.end_asked_at is None,
        now=desk.market.now(),
        tail=tail,
        tails=TAILS,
        has_times=has_times,
        may_rent=visitor.may(Scope.RENT),
    )


@router.get("/leases/{lease_id}/logs/follow")
async def follow_logs(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """The API's feed, for whoever is signed in as long as it is; where there is none it says why and ends."""
    lease = await run_in_threadpool(own_lease, desk, visitor.caller, lease_id)
    lines = feeds.log_lines(
        desk,
        visitor.caller,
        lease,
        USUAL,
        None,
        has_times=request.query_params.get("times") == "yes",
        behind_ns=_behind_ns(request),
        cleaned=printed,
        why_over=partial(_why_over, desk, visitor),
    )
    try:
        check_running(lease, may_stand_still=False)
        return feeds.respond(desk, visitor.caller, lines)
    except UserError as error:
        return feeds.refusal(problem_of(error))


async def _read(
    desk: Desk, visitor: Visitor, lease: Rental, tail: int, *, has_times: bool
) -> tuple[LogRead, str]:
    """The last lines, or why they can't be read now."""
    if lease.state in CLOSED:
        return _NOTHING, "the lease is over, and its log is gone with its container"
    if lease.access is None:
        return _NOTHING, "nothing runs yet"
    try:
        async with asyncio.timeout(READ_S):
            renter_id = visitor.caller.renter_id
            read = read_log(desk, renter_id, lease, tail, None, has_times=has_times, cleaned=printed)
            return await read, ""
    except TimeoutError:
        return _NOTHING, f"its machine has not answered within {READ_S:g} s; try again"
    except SubnetError as error:
        refused = problem_of(error)
        return _NOTHING, reason_of(refused)


def _why_over(desk: Desk, visitor: Visitor) -> str:
    """Why the browser may read no more; empty: it may."""
    session = desk.stores.page_sessions.get(digest_of(visitor.secret), desk.market.now())
    return "" if session else "this browser is signed out"


def _tail(request: Request) -> int:
    asked = request.query_params.get("tail", "")
    return next((tail for tail in TAILS if str(tail) == asked), USUAL)


def _behind_ns(request: Request) -> int:
    """The line behind which it goes on: as the browser remembers it, or as the page was made with; -1: none."""
    for told in (request.headers.get("last-event-id", ""), request.query_params.get("behind", "")):
        if told.isascii() and told.isdecimal() and len(told) <= 20 and int(told):
            return int(told)
    return -1
