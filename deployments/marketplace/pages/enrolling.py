"""Making an account: without an e-mail address, without an operator, with nothing in it."""

from __future__ import annotations

import secrets
from datetime import timedelta

from fastapi import Request
from starlette.responses import Response

from deployments.marketplace.guard import Caller, OfDesk, neighbourhood_of
from deployments.marketplace.market import Desk
from deployments.marketplace.pages.forms import PostedByAnybody
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.signing import Anybody, check_opened, form_secret, opened
from deployments.marketplace.pages.sites import better_place, site_of
from deployments.marketplace.pages.visitors import Visitor, give, session_of
from deployments.marketplace.problems import Refused
from storage.renter import Renter, Scope
from tasks.renting.api_keys import new_key

router = page_router()
PATH = "/sign-up"
DAY = timedelta(days=1)


@router.get(PATH, dependencies=[Anybody])
def show_sign_up(request: Request, desk: OfDesk) -> Response:
    """What an account is, and the button."""
    return _page(request, desk)


@router.post(PATH, dependencies=[Anybody])
def make_account(request: Request, desk: OfDesk, form: PostedByAnybody) -> Response:
    """A new renter with a first key, shown in this answer and nowhere else; the browser is signed in with it."""
    browser = check_opened(request, desk, form)
    try:
        token, caller = _made(request, desk, form.text("nonce"), browser)
    except Refused as refused:
        return _page(request, desk, refused)
    secret = session_of(request, desk, key_id=caller.key.key_id)
    request.state.visitor, request.state.keyholder = Visitor(caller, secret), None
    answer = page(
        request,
        "signed_up.html",
        status=201,
        token=token,
        has_passkeys=site_of(request) is not None,
        better_place=better_place(request, "/account"),
    )
    give(request, answer, secret)
    return answer


def _made(request: Request, desk: Desk, nonce: str, browser: str) -> tuple[str, Caller]:
    """A renter of a name of ours and its key; refused when nobody may make one, or not so many."""
    now = desk.market.now()
    if not desk.market.is_sign_up_open:
        raise Refused(403, "CLOSED", "accounts are made by this market's operator", "ask the operator")
    challenge = desk.challenges.read(nonce, PATH, browser)
    if challenge is None:
        raise Refused(409, "FORM_USED", "this form is too old, or has made its account", "send this one")
    if desk.stores.renters.made_since(now - DAY) >= desk.market.limits.sign_ups_a_day:
        raise Refused(
            429,
            "TOO_MANY_ACCOUNTS",
            "so many accounts were made within a day that no more are",
            "try again tomorrow, or ask the operator",
            headers={"Retry-After": "3600"},
        )
    grant = desk.sign_ups.take(neighbourhood_of(request))
    if not grant.is_granted:
        raise Refused(
            429,
            "TOO_MANY_ACCOUNTS",
            "too many accounts were made from this address",
            "use one of those, or try again later",
            headers=grant.headers,
        )
    if not desk.challenges.take(challenge):
        raise Refused(409, "FORM_USED", "this form has just made its account", "look at the answer to it")
    renter = Renter(f"r-{secrets.token_hex(5)}", now, is_self_made=True)
    token, key = new_key(renter.renter_id, "first", [Scope.ADMIN], now)
    if not desk.stores.renters.enrol(renter, key):
        raise Refused(503, "NAME_TAKEN", "the name that was drawn is somebody's", "send the form again")
    return token, Caller(renter, key)


def _page(request: Request, desk: Desk, fault: Refused | None = None) -> Response:
    nonce = desk.challenges.new(PATH, form_secret(request)).text
    is_open = desk.market.is_sign_up_open
    return opened(request, desk, "sign_up.html", PATH, fault, nonce=nonce, is_open=is_open)
