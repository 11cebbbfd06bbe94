"""The operator's page: what goes wrong, what waits, how the validator stands on the chain, and whether Prefect is well.

For a browser that was signed in by an operator's hotkey. It shows no renter and no secret.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial

from fastapi import Request
from starlette.responses import Response

from deployments.marketplace.catalogue import Answer
from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.orchestration import STATES
from deployments.marketplace.pages.fragments import fragment, markup, sent
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.visitors import Operates
from deployments.marketplace.pages.words import lasting

router = page_router()


@router.get("/operator")
def operator(request: Request, desk: OfDesk, operator: Operates) -> Response:
    """All of it."""
    del operator
    made = _now(desk)
    return page(request, "operator.html", now=markup(made), etag=made.etag)


@router.get("/operator/now")
def operator_now(request: Request, desk: OfDesk, operator: Operates) -> Response:
    """What changes of it; nothing while nothing has changed."""
    del operator
    return sent(request, _now(desk))


def _now(desk: Desk) -> Answer:
    return fragment(
        "operator_now.html",
        overview=desk.affairs.look(),
        starter=desk.market.starter.orchestrator,
        is_asked=desk.orchestrations.is_known,
        prefect=desk.orchestrations.look(),
        states=STATES,
        ago=partial(ago, desk.market.now()),
    )


def ago(now: datetime, at: datetime) -> str:
    """How long ago, in whole minutes: what is shown changes no more often."""
    minutes = round((now - at).total_seconds() // 60)
    return f"{lasting(60 * minutes)} ago" if minutes > 0 else "under a minute ago"
