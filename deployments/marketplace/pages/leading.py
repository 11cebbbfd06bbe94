"""Addresses that forms go to, asked for as pages: by a tab that is opened again, or Enter in the address bar."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.pages.visitors import visitor_of


def lead_to(router: APIRouter, page: str, *forms: str) -> None:
    """Have whoever asks for these addresses led to the page that the forms stand on; names in both are the same."""

    def led(request: Request) -> Response:
        names = {name: quote(value, safe="") for name, value in request.path_params.items()}
        return RedirectResponse(page.format(**names), 303)

    for path in forms:
        router.add_api_route(path, led, methods=["GET"], dependencies=[Depends(visitor_of)])
