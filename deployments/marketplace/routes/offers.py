"""Machines that can be rented."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from deployments.marketplace.catalogue import Answer
from deployments.marketplace.guard import OfDesk, Reads
from deployments.marketplace.models import Offer, OfferQuery, Page
from deployments.marketplace.problems import no_such, responses

router = APIRouter(tags=["offers"])


@router.get(
    "/v1/offers",
    summary="Find machines",
    response_model=Page[Offer],
    responses={**responses(), 304: {"description": "Not changed since the If-None-Match that was sent"}},
)
def list_offers(
    request: Request, query: Annotated[OfferQuery, Query()], caller: Reads, desk: OfDesk
) -> Response:
    """Those with free cards that fit, as the last epoch proved them; at most some seconds old."""
    del caller
    answer = desk.catalogue.snapshot().answer(request.scope["query_string"], query)
    return reply(answer, request.headers.get("if-none-match"), request.headers.get("accept-encoding", ""))


@router.get("/v1/offers/{executor_key:path}", summary="Look at a machine", responses=responses(404))
def get_offer(
    executor_key: Annotated[str, Path(pattern=r"^[!-~]{1,200}$")], caller: Reads, desk: OfDesk
) -> Offer:
    """Also one whose cards are all held."""
    del caller
    found = desk.catalogue.snapshot().by_key.get(executor_key)
    if found is None:
        raise no_such("machine on offer", executor_key, "/v1/offers")
    return found


def reply(answer: Answer, known_etag: str | None, encodings: str) -> Response:
    """The page as the client can read it; nothing when it has it already."""
    headers = {"ETag": answer.etag, "Cache-Control": "private, max-age=1", "Vary": "Accept-Encoding"}
    if known_etag == answer.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in encodings:
        headers["Content-Encoding"] = "gzip"
        return Response(answer.compressed, headers=headers, media_type="application/json")
    return Response(answer.body, headers=headers, media_type="application/json")
