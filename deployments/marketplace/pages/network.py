"""The network page: the epoch that is at work, who has which weight, and the charts of the last days. For everybody."""

from __future__ import annotations

from functools import lru_cache

from fastapi import Depends, Request
from starlette.responses import Response

from deployments.marketplace.board import Look
from deployments.marketplace.catalogue import Answer
from deployments.marketplace.chain_asking import ChainRows
from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.pages import bars
from deployments.marketplace.pages.consensus import others_of
from deployments.marketplace.pages.fragments import fragment, fragment_of, markup, sent
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.visitors import visitor_of

router = page_router()
Seen = Depends(visitor_of)


@router.get("/network", dependencies=[Seen])
def network(request: Request, desk: OfDesk) -> Response:
    """The whole page."""
    made, charts = _now(desk), _charts(desk)
    return page(
        request,
        "network.html",
        now=markup(made),
        etag=made.etag,
        charts=markup(charts),
        charts_etag=charts.etag,
    )


@router.get("/network/now", dependencies=[Seen])
def now(request: Request, desk: OfDesk) -> Response:
    """What changes of it, for a page that is open already; nothing while nothing has changed."""
    return sent(request, _now(desk))


@router.get("/network/charts", dependencies=[Seen])
def charts(request: Request, desk: OfDesk) -> Response:
    """The charts of the last days, when they are made."""
    return sent(request, _charts(desk))


def _now(desk: Desk) -> Answer:
    told = desk.chain_rows.look()
    return shown(desk.board.look(), told, is_asked=desk.chain_rows.is_known)


def shown(look: Look, told: ChainRows | None, *, is_asked: bool) -> Answer:
    """The changing part of the page."""
    others = others_of(look, told)
    return fragment(
        "epochs.html",
        look=look,
        chart=bars.bars_of(look.epochs),
        size=bars,
        told=told,
        is_asked=is_asked,
        others=others,
        agreements={one.hotkey: one.agreement for one in others},
    )


def _charts(desk: Desk) -> Answer:
    """Compressed anew only when there are others: they are the largest part of the page."""
    newest = desk.board.snapshot()
    found = desk.charts.look(desk.market.now().date(), newest.epoch if newest else None)
    if found.html:
        return _kept(found.html)
    return fragment("charts_waited.html", is_known=desk.charts.is_known, fault=found.fault)


@lru_cache(maxsize=2)
def _kept(html: str) -> Answer:
    return fragment_of(html)
