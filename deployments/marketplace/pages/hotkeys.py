"""Signing in with a hotkey: a text is shown, its owner signs it elsewhere, and what comes of that is typed in.

The text names this site, the hotkey and a challenge for this browser; no key ever comes near the page.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.challenges import Challenge
from deployments.marketplace.guard import OfDesk, check_guesses, neighbourhood_of
from deployments.marketplace.market import Desk
from deployments.marketplace.pages.forms import PostedByAnybody
from deployments.marketplace.pages.frame import page_router
from deployments.marketplace.pages.signing import (
    Anybody,
    Next,
    check_opened,
    form_secret,
    opened,
    own_path,
)
from deployments.marketplace.pages.visitors import begin
from deployments.marketplace.problems import Refused
from tasks.edges.signing import check_hotkey, is_text_of
from tasks.errors import NotAuthentic
from tasks.signing_in import SignIn

router = page_router()
PATH, HOME = "/sign-in/hotkey", "/miner"


@router.get(PATH, dependencies=[Anybody])
def show_text(
    request: Request, desk: OfDesk, hotkey: Annotated[str, Query(max_length=400)] = "", then: Next = HOME
) -> Response:
    """The field for a hotkey, or the text that this hotkey's owner has to sign."""
    wanted = hotkey.strip()
    try:
        asked = _sign_in(request, wanted, _new(request, desk, wanted)) if wanted else None
    except Refused as refused:
        return _page(request, desk, None, then, refused, typed=wanted)
    return _page(request, desk, asked, then)


@router.post(PATH, dependencies=[Anybody])
def take_signature(request: Request, desk: OfDesk, form: PostedByAnybody) -> Response:
    """A session for the browser that sent a signature that holds; wrong ones are counted by address, as wrong keys are."""
    browser = check_opened(request, desk, form)
    hotkey, then = form.text("hotkey"), form.text("then")
    challenge = desk.challenges.read(form.text("nonce"), _purpose(hotkey), browser)
    if challenge is None:
        refused = Refused(401, "TEXT_TOO_OLD", "that text is too old, or was used", "sign this one instead")
        return _page(request, desk, _sign_in(request, hotkey, _new(request, desk, hotkey)), then, refused)
    asked = _sign_in(request, hotkey, challenge)
    try:
        _check(desk, request, asked, challenge, form.text("signature"))
    except Refused as refused:
        return _page(request, desk, asked, then, refused)
    answer = RedirectResponse(own_path(then, HOME), 303)
    begin(request, answer, desk, hotkey=hotkey)
    return answer


def _check(desk: Desk, request: Request, asked: SignIn, challenge: Challenge, signature: str) -> None:
    """Use the challenge up; refused when this is not the signature, or too many were sent from this address."""
    address = neighbourhood_of(request)
    check_guesses(desk, address)
    if not is_text_of(asked.text, signature, asked.hotkey):
        desk.failures.take(address)
        raise Refused(
            401,
            "NO_SIGNATURE",
            "this is not the signature of this hotkey over this text",
            "sign the text below as it is, with this hotkey, and paste the 128 hex digits",
        )
    grant = desk.sign_ins.take(address)
    if not grant.is_granted:
        raise Refused(
            429,
            "TOO_MANY_SIGN_INS",
            "too many browsers were signed in from this address",
            "wait a moment, then send it again",
            headers=grant.headers,
        )
    if not desk.challenges.take(challenge):
        raise Refused(401, "TEXT_USED", "this text was used just now", "ask for another text")


def _new(request: Request, desk: Desk, hotkey: str) -> Challenge:
    """A challenge for this hotkey in this browser; refused when it is none."""
    try:
        check_hotkey(hotkey)
    except NotAuthentic as error:
        raise Refused(422, "NO_ADDRESS", str(error), "paste the hotkey's SS58 address") from None
    return desk.challenges.new(_purpose(hotkey), form_secret(request))


def _sign_in(request: Request, hotkey: str, challenge: Challenge) -> SignIn:
    """What its owner has to sign; the address is one of the market's own, as `Front` sees to."""
    origin = f"{request.url.scheme}://{request.url.netloc}"
    return SignIn(origin, hotkey, challenge.text, challenge.issued_at)


def _purpose(hotkey: str) -> str:
    return f"hotkey {hotkey}"


def _page(
    request: Request,
    desk: Desk,
    asked: SignIn | None,
    then: str,
    fault: Refused | None = None,
    *,
    typed: str = "",
) -> Response:
    return opened(
        request,
        desk,
        "sign_in_hotkey.html",
        PATH,
        fault,
        asked=asked,
        typed=asked.hotkey if asked else typed,
        then=own_path(then, HOME),
    )
