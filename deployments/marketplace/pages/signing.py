"""Signing in with an API key, and out."""

from __future__ import annotations

import re
import secrets
from typing import Annotated

from fastapi import Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.guard import OfDesk, address_of, identify
from deployments.marketplace.pages.forms import Posted, check_token, token_of
from deployments.marketplace.pages.frame import page, page_router
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
_OWN_PATH = re.compile(r"/(?!/)[A-Za-z0-9/_.?=&%:+-]{0,300}\Z")
Next = Annotated[str, Query(alias="next", max_length=400)]


@router.get("/sign-in", dependencies=[Depends(visitor_of)])
def show_sign_in(request: Request, desk: OfDesk, then: Next = "/account") -> Response:
    """The form; its token is for this browser alone, which has no session yet."""
    secret = request.cookies.get(cookie_name(request, FORM_COOKIE), "") or secrets.token_urlsafe(32)
    answer = page(
        request,
        "sign_in.html",
        then=then if _OWN_PATH.match(then) else "/account",
        is_private=is_private(request),
        token=token_of(desk, secret, "/sign-in"),
        fault=None,
    )
    set_cookie(request, answer, cookie_name(request, FORM_COOKIE), secret, FORM_S)
    return answer


@router.post("/sign-in", dependencies=[Depends(visitor_of)])
def take_key(request: Request, desk: OfDesk, form: Posted) -> Response:
    """A session for the browser that sent a key that lives; wrong ones are counted by address, as the API's are."""
    secret = request.cookies.get(cookie_name(request, FORM_COOKIE), "")
    check_token(desk, request, form, secret)
    if not is_private(request):
        raise Refused(403, "NO_TLS", "a key would be sent where others can read it", "use https")
    then = form.text("then")
    try:
        found = identify(desk, form.text("key"), address_of(request))
    except Refused as refused:
        return page(
            request,
            "sign_in.html",
            status=refused.status,
            headers={name: value for name, value in refused.headers.items() if name == "Retry-After"},
            then=then if _OWN_PATH.match(then) else "/account",
            is_private=True,
            token=token_of(desk, secret, "/sign-in"),
            fault=refused,
        )
    answer = RedirectResponse(then if _OWN_PATH.match(then) else "/account", 303)
    begin(request, answer, desk, key_id=desk.stores.renters.touch_key(found.key, desk.market.now()).key_id)
    return answer


@router.post("/sign-out")
def leave(
    request: Request, desk: OfDesk, visitor: MaybeVisitor, keyholder: MaybeKeyholder, form: Posted
) -> Response:
    """The session is over; again is harmless."""
    answer = RedirectResponse("/", 303)
    if (signed_in := visitor or keyholder) is not None:
        check_token(desk, request, form, signed_in.secret)
        end(request, answer, desk, signed_in.secret)
    return answer
