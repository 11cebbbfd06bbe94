"""The network page: the epoch that is at work, what the last ones came to, and who has which weight. For everybody."""

from __future__ import annotations

import gzip
from hashlib import blake2b

from fastapi import Depends, Request
from markupsafe import Markup
from starlette.responses import Response

from deployments.marketplace.catalogue import GZIP_LEVEL, Answer
from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.pages import bars
from deployments.marketplace.pages.frame import HEADERS, page, page_router, text_of
from deployments.marketplace.pages.visitors import visitor_of
from deployments.marketplace.routes.offers import reply

router = page_router()
Seen = Depends(visitor_of)


@router.get("/network", dependencies=[Seen])
def network(request: Request, desk: OfDesk) -> Response:
    """The whole page."""
    made = _now(desk)
    now = Markup(made.body.decode())  # noqa: S704  a template of ours made it, and has escaped what is foreign
    return page(request, "network.html", now=now, etag=made.etag)


@router.get("/network/now", dependencies=[Seen])
def now(request: Request, desk: OfDesk) -> Response:
    """What changes of it, for a page that is open already; nothing while nothing has changed."""
    sent = reply(_now(desk), request.headers.get("if-none-match"), request.headers.get("accept-encoding", ""))
    sent.headers.update({**HEADERS, "Content-Type": "text/html; charset=utf-8"})
    return sent


def _now(desk: Desk) -> Answer:
    look = desk.board.look()
    text = text_of("epochs.html", look=look, chart=bars.bars_of(look.epochs), size=bars)
    body = text.encode("utf-8", "replace")
    return Answer(
        body, gzip.compress(body, GZIP_LEVEL, mtime=0), f'"{blake2b(body, digest_size=12).hexdigest()}"'
    )
