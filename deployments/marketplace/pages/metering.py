"""What a lease uses, on its page: plots that go on while somebody looks, over a span that is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b

from fastapi import Request
from starlette.responses import Response

from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.meters import DAY_S, HOUR_S, Charts, Span, charts_of
from deployments.marketplace.pages.visitors import Looks
from deployments.marketplace.routes.common import LeaseId, own_lease
from storage.health import Grain
from storage.rental import Rental, RentalState
from tasks.renting.moves import CLOSED

router = page_router()
MOST_SAMPLES = 3_000
SOON_S = 2
SHORTEST = timedelta(minutes=1)
BEFORE = timedelta(seconds=90)
"""So much of what was before the span is read, too: what was added since then is known of two samples."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A span that can be chosen."""

    key: str
    name: str
    seconds: float | None
    """None: all of the lease."""
    every_s: int
    """So often an open page asks for what is new: more often than samplers end."""
    step_s: int
    """The picture goes on in time so often, whatever was measured."""
    is_coarse: bool = False
    """Whether it is only drawn anew when it goes on."""


CHOICES = (
    Choice("10min", "10 min", 600.0, 5, 30),
    Choice("1h", "1 h", HOUR_S, 15, 30),
    Choice("24h", "24 h", DAY_S, 20, 60, is_coarse=True),
    Choice("all", "whole lease", None, 20, 60, is_coarse=True),
)


@dataclass(frozen=True, slots=True)
class Metering:
    """Everything that the region is made of."""

    lease_id: str
    choice: Choice
    choices: tuple[Choice, ...]
    charts: Charts | None
    """None: there is nothing to draw."""
    measured_at: datetime | None
    """The newest sample of the span."""
    why: str
    """Why there is nothing, or nothing new, in words; empty: it is measured."""
    is_over: bool
    etag: str

    @property
    def every_s(self) -> int:
        """So often an open page asks; more often where it has nothing to show yet."""
        return self.choice.every_s if self.charts else SOON_S


def region(desk: Desk, lease: Rental, chosen: str, known: str = "") -> Metering | None:
    """What the lease used, as it is looked at now; None when that is what `known` is the ETag of."""
    now = desk.market.now()
    is_over = lease.state in CLOSED
    choice = _choice(chosen, is_over=is_over)
    trouble = desk.samplers.look(lease)
    [*newest] = desk.stores.health.metrics(lease.lease_id, newest=1)
    etag = _etag(lease, choice, trouble, newest[0].at if newest else None, now)
    if known == etag:
        return None
    span = _span(lease, choice, now)
    least = Grain.FINE if span.seconds <= HOUR_S else Grain.MINUTE
    found = desk.stores.health.metrics(lease.lease_id, span.begin - BEFORE, MOST_SAMPLES, least)
    if newest and (not found or found[-1].at < newest[0].at):
        found = (*found, newest[0])
    kept = tuple(one for one in found if one.at <= span.end)
    inside = [one.at for one in kept if one.at >= span.begin]
    return Metering(
        lease_id=lease.lease_id,
        choice=choice,
        choices=CHOICES,
        charts=charts_of(kept, lease.card_uuids, span) if inside else None,
        measured_at=inside[-1] if inside else None,
        why=_why(lease, trouble, has_any=bool(inside), is_over=is_over),
        is_over=is_over,
        etag=etag,
    )


@router.get("/leases/{lease_id}/metrics")
def show_metrics(
    lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Looks, span: str = ""
) -> Response:
    """The plots, for a page that is open already; nothing while nothing has changed."""
    lease = own_lease(desk, visitor.caller, lease_id)
    known = request.headers.get("if-none-match", "")
    found = region(desk, lease, span, known)
    if found is None:
        return Response(status_code=304, headers={"ETag": known})
    return page(request, "metrics.html", headers={"ETag": found.etag}, metering=found)


def _choice(chosen: str, *, is_over: bool) -> Choice:
    """What was chosen; else the last minutes, and of a lease that is over all of it."""
    return next((one for one in CHOICES if one.key == chosen), CHOICES[-1 if is_over else 0])


def _span(lease: Rental, choice: Choice, now: datetime) -> Span:
    """It ends now, or with the lease; what was before the hand-over is left out."""
    end = lease.ended_at or now
    begin = lease.active_at or end
    if choice.seconds is not None:
        begin = max(begin, end - timedelta(seconds=choice.seconds))
    return Span(min(begin, end - SHORTEST), end, now)


def _why(lease: Rental, trouble: str, *, has_any: bool, is_over: bool) -> str:
    if is_over:
        return "" if has_any else "nothing of what it used is kept for this time"
    match lease.state:
        case RentalState.ACTIVE:
            nothing_yet = "" if has_any else "nothing was measured yet: the first values come within seconds"
            return trouble or nothing_yet
        case RentalState.STOPPED:
            return "it stands still: nothing is measured"
        case RentalState.ENDING:
            return "it is being ended: nothing is measured any more"
        case _:
            return "it is measured from its hand-over on"


def _etag(lease: Rental, choice: Choice, trouble: str, newest: datetime | None, now: datetime) -> str:
    """Of everything that is shown; a picture of what runs goes on in time."""
    step = 0 if lease.state in CLOSED else int(now.timestamp()) // choice.step_s
    measured = newest is not None if choice.is_coarse else newest
    told = f"{lease.lease_id} {lease.version} {choice.key} {trouble} {measured} {step}"
    return f'"{blake2b(told.encode(), digest_size=12).hexdigest()}"'
