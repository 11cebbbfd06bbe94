"""The network page: the epoch that is at work, what the last ones came to, and who has which weight. For everybody."""

from __future__ import annotations

from fastapi import Depends, Request
from starlette.responses import Response

from deployments.marketplace.catalogue import Answer
from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.pages import bars
from deployments.marketplace.pages.fragments import fragment, markup, sent
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.visitors import visitor_of

router = page_router()
Seen = Depends(visitor_of)


@router.get("/network", dependencies=[Seen])
def network(request: Request, desk: OfDesk) -> Response:
    """The whole page."""
    made = _now(desk)
    return page(request, "network.html", now=markup(made), etag=made.etag)


@router.get("/network/now", dependencies=[Seen])
def now(request: Request, desk: OfDesk) -> Response:
    """What changes of it, for a page that is open already; nothing while nothing has changed."""
    return sent(request, _now(desk))


def _now(desk: Desk) -> Answer:
    look = desk.board.look()
    return fragment("epochs.html", look=look, chart=bars.bars_of(look.epochs), size=bars)
