"""Signing in with an API key, and out; what every form of somebody who is not signed in yet shares."""

from __future__ import annotations

import re
import secrets
from typing import Annotated

from fastapi import Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.guard import OfDesk, identify, neighbourhood_of
from deployments.marketplace.market import Desk
from deployments.marketplace.pages.forms import Form, PostedByAnybody, check_token, token_of
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.leading import lead_to
from deployments.marketplace.pages.sites import better_place, site_of
from deployments.marketplace.pages.visitors import (
    MaybeKeyholder,
    MaybeVisitor,
    begin,
    cookie_name,
    end,
    is_private,
    set_cookie,
    visitor_of,
)
from deployments.marketplace.problems import Refused

router = page_router()
FORM_COOKIE, FORM_S = "form", 3_600
_OWN_PATH = re.compile(r"/(?!/)[A-Za-z0-9/_.?=&%:+-]{0,2000}\Z")
Next = Annotated[str, Query(alias="next")]
Anybody = Depends(visitor_of)


@router.get("/sign-in", dependencies=[Anybody])
def show_sign_in(request: Request, desk: OfDesk, then: Next = "/account") -> Response:
    """The form; its token is for this browser alone, which has no session yet."""
    return sign_in_page(request, desk, own_path(then, "/account"))


@router.post("/sign-in", dependencies=[Anybody])
def take_key(request: Request, desk: OfDesk, form: PostedByAnybody) -> Response:
    """A session for the browser that sent a key that lives; wrong ones are counted by address, as the API's are."""
    check_opened(request, desk, form)
    then = own_path(form.text("then"), "/account")
    try:
        found = identify(desk, form.text("key"), neighbourhood_of(request))
    except Refused as refused:
        return sign_in_page(request, desk, then, refused)
    answer = RedirectResponse(then, 303)
    begin(request, answer, desk, key_id=desk.stores.renters.touch_key(found.key, desk.market.now()).key_id)
    return answer


@router.post("/sign-out")
def leave(
    request: Request, desk: OfDesk, visitor: MaybeVisitor, keyholder: MaybeKeyholder, form: PostedByAnybody
) -> Response:
    """The session is over; again is harmless."""
    answer = RedirectResponse("/", 303)
    if (signed_in := visitor or keyholder) is not None:
        check_token(desk, request, form, signed_in.secret)
        end(request, answer, desk, signed_in.secret)
    return answer


def sign_in_page(
    request: Request, desk: Desk, then: str, fault: Refused | None = None, *, at: str = "key"
) -> Response:
    """All ways in; what was wrong is told at the one that was tried."""
    return opened(
        request,
        desk,
        "sign_in.html",
        "/sign-in",
        fault,
        then=then,
        at=at,
        has_passkeys=site_of(request) is not None,
        better_place=better_place(request, "/sign-in"),
        passkey_token=token_of(desk, form_secret(request), "/sign-in/passkey"),
        is_sign_up_open=desk.market.is_sign_up_open,
    )


def own_path(then: str, otherwise: str) -> str:
    """Where to go then: a page of ours, whatever an address says."""
    return then if _OWN_PATH.match(then) else otherwise


def form_secret(request: Request) -> str:
    """What the cookie of a browser without a session holds, which its forms are bound to; a new one where it has none."""
    kept = request.cookies.get(cookie_name(request, FORM_COOKIE), "")[:100]
    request.state.form_secret = getattr(request.state, "form_secret", kept or secrets.token_urlsafe(32))
    return str(request.state.form_secret)


def opened(
    request: Request, desk: Desk, template: str, action: str, fault: Refused | None = None, **values: object
) -> Response:
    """A page with a form that goes to `action`, for a browser without a session; what was wrong is told at it."""
    secret = form_secret(request)
    told = fault.headers if fault else {}
    answer = page(
        request,
        template,
        status=fault.status if fault else 200,
        headers={name: value for name, value in told.items() if name == "Retry-After"},
        is_private=is_private(request),
        is_unsent=request.query_params.get("unsent") == "yes",
        token=token_of(desk, secret, action),
        fault=fault,
        **values,
    )
    set_cookie(request, answer, cookie_name(request, FORM_COOKIE), secret, FORM_S)
    return answer


def check_opened(request: Request, desk: Desk, form: Form) -> str:
    """What the cookie holds of the browser that such a form was made for; refused when it wasn't, or others can read along."""
    secret = form_secret(request)
    check_token(desk, request, form, secret)
    if not is_private(request):
        raise Refused(403, "NO_TLS", "a key would be sent where others can read it", "use https")
    return secret


lead_to(router, "/", "/sign-out")
