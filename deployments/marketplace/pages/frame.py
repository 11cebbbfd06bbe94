"""What every page is: made of a template, sent with a policy under which it can load and run nothing but our own files.

router = page_router()      routes whose refusals are pages
page(request, "browse.html", status=200, **values)
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from deployments.marketplace.catalogue import GZIP_LEVEL
from deployments.marketplace.guard import desk_of
from deployments.marketplace.pages import words
from deployments.marketplace.pages.assets import ASSETS
from deployments.marketplace.pages.forms import token_of
from deployments.marketplace.pages.mending import mend_of
from deployments.marketplace.pages.visitors import visitor_of
from deployments.marketplace.problems import Refused, problem_of
from deployments.renting.look import short_machine
from deployments.renting.quantities import short_usd
from storage.errors import StorageError
from tasks.errors import SubnetError

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types page"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # with none at all a browser sends forms without saying where they come from
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), "
    "publickey-credentials-get=(self), publickey-credentials-create=(self)",
    "Vary": "Accept-Encoding, Cookie",
}
Handler = Callable[[Request, Exception], Coroutine[Any, Any, Response]]
_HTML = "text/html; charset=utf-8"
_SIGN_IN = {"SIGNED_OUT": "/sign-in", "NO_HOTKEY": "/sign-in/hotkey"}
"""Where whoever is refused so can change it."""


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "shown": words.shown,
        "sentence": words.sentence,
        "coded": words.coded,
        "path": words.path_of,
        "share": words.share,
        "gib": words.gib,
        "size": words.size,
        "moment": words.moment,
        "lasting": words.lasting,
        "mend": mend_of,
        "usd": short_usd,
        "machine": lambda key: words.shown(short_machine(key), 40),
    }
    made.globals |= {"asset": lambda name: ASSETS[name].address, "between": words.between}
    return made


_TEMPLATES = _environment()


def text_of(template: str, **values: object) -> str:
    """A template filled."""
    return _TEMPLATES.get_template(template).render(**values)


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **values: object,
) -> Response:
    """The page, compressed where the browser takes that; nobody keeps it."""
    visitor, keyholder = (getattr(request.state, name, None) for name in ("visitor", "keyholder"))
    signed_in = visitor or keyholder
    secret = signed_in.secret if signed_in else ""
    shared = {
        "path": request.scope["path"],
        "visitor": visitor,
        "keyholder": keyholder,
        "form_token": lambda action: token_of(desk_of(request), secret, action),
    }
    text = text_of(template, **shared, **values)
    sent = {**HEADERS, "Cache-Control": "no-store", **(headers or {})}
    body = text.encode("utf-8", "replace")
    if "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, GZIP_LEVEL, mtime=0)
        sent["Content-Encoding"] = "gzip"
    return Response(body, status, sent, _HTML)


class PageRoute(APIRoute):
    """A route that answers whoever it refuses with a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual one, within the translation."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # noqa: BLE001  the last place that knows it is a page
                refused = _refused(error)
                form = _SIGN_IN.get(refused.code)
                return _to_sign_in(request, form) if form else refusal_page(request, refused)

        return handled


def page_router() -> APIRouter:
    """For routes of pages, of which the API's description says nothing."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)


def refusal_page(request: Request, refused: Refused) -> Response:
    """Why it was refused, and what to do."""
    return page(
        request,
        "refusal.html",
        status=refused.status,
        headers=refused.headers,
        title=HTTPStatus(refused.status).phrase,
        refused=refused,
    )


def wants_page(scope: Scope) -> bool:
    """Whether a browser asks for a page of ours, and no program for the API."""
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
    return is_page(scope["path"]) and b"text/html" in accepted.lower()


def is_page(path: str) -> bool:
    """Whether a page can be there, and neither the API nor a file that is everybody's."""
    return not f"{path}/".startswith(("/v1/", "/static/"))


def for_browsers(handle: Handler) -> Handler:
    """A handler of refusals that answers browsers with a page, where it was no route of pages that refused."""

    async def handled(request: Request, error: Exception) -> Response:
        if not wants_page(request.scope):
            return await handle(request, error)
        try:
            await run_in_threadpool(visitor_of, request, desk_of(request))
        except (SubnetError, StorageError) as refused:
            return refusal_page(request, _refused(refused))
        return refusal_page(request, _refused(error))

    return handled


def _to_sign_in(request: Request, form: str) -> Response:
    """To this form, and from there back to what was asked for; to the page of a form that was sent, which is not sent again."""
    is_sent = request.method == "POST"
    back = _path_of(request.headers.get("referer", "")) if is_sent else _path_of(str(request.url))
    asked = {**({"next": back} if back else {}), **({"unsent": "yes"} if is_sent else {})}
    return RedirectResponse(f"{form}?{urlencode(asked)}" if asked else form, 303)


def _path_of(address: str) -> str:
    """What stands behind the name of a site; whether it is a page of ours is looked at where somebody is led to it."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _refused(error: Exception) -> Refused:
    """The refusal behind what a route raised; what an address has that it may not have is told by its place alone."""
    is_nowhere = isinstance(error, HTTPException) and error.status_code == HTTPStatus.NOT_FOUND
    if is_nowhere or isinstance(error, RequestValidationError):
        return Refused(404, "NO_SUCH_PATH", "there is no such page", "go back to the list of machines")
    if isinstance(error, HTTPException):
        return Refused(error.status_code, "REFUSED", str(error.detail), "go back and try again")
    return problem_of(error)
