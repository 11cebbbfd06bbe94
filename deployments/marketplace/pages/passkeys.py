"""Passkeys: kept from the account's page, and signed in with, without a name or a key.

    GET options -> challenge -> the browser's authenticator -> POST of the form, with what that answered

A passkey may what its account's owner may. It is known by a digest of the site's name and its own id: one that was made at
another name of ours is nobody's here.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Any

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.challenges import Challenge
from deployments.marketplace.guard import OfDesk, check_guesses, neighbourhood_of
from deployments.marketplace.market import Desk
from deployments.marketplace.pages.forms import Posted, PostedByAnybody, check_token
from deployments.marketplace.pages.frame import page_router
from deployments.marketplace.pages.leading import lead_to
from deployments.marketplace.pages.signing import (
    Anybody,
    check_opened,
    form_secret,
    own_path,
    sign_in_page,
)
from deployments.marketplace.pages.sites import site_of
from deployments.marketplace.pages.visitors import Rules, Visitor, begin
from deployments.marketplace.problems import Refused, no_such
from deployments.marketplace.routes.common import NamePath
from storage.renter import Passkey
from tasks.edges.passkeys import Known, Site, credential_id_of, made, used
from tasks.errors import NotAuthentic

router = page_router()
SIGN_IN, KEPT = "/sign-in/passkey", "/account/passkeys"
TIMEOUT_MS = 240_000
ALGORITHMS = (-8, -7, -257)
"""COSE: Ed25519, ECDSA of P-256, RSA, each with SHA-256."""
MOST_NAME = 60
_SITE_NAME = "GPU market"


def handle_of(desk: Desk, renter_id: str) -> bytes:
    """By which an authenticator knows whose passkey it has; nobody reads a name in it."""
    key = blake2b(desk.market.digest_key, digest_size=32, person=b"passkey handles").digest()
    return blake2b(renter_id.encode(), digest_size=32, key=key).digest()


# --- keeping them ----------------------------------------------------------------------------------


@router.get(f"{KEPT}/options")
def options_to_keep(request: Request, desk: OfDesk, visitor: Rules) -> Response:
    """What the browser asks its authenticator to make."""
    site = _site(request)
    renter_id = visitor.caller.renter_id
    challenge = desk.challenges.new(_purpose(visitor), visitor.secret)
    return _json(
        {
            "challenge": challenge.text,
            "rp": {"id": site.rp_id, "name": _SITE_NAME},
            "user": {
                "id": _text(handle_of(desk, renter_id)),
                "name": renter_id,
                "displayName": renter_id,
            },
            "pubKeyCredParams": [{"type": "public-key", "alg": one} for one in ALGORITHMS],
            "authenticatorSelection": {"residentKey": "required", "userVerification": "required"},
            "excludeCredentials": [
                {"type": "public-key", "id": _text(one.credential_id)}
                for one in desk.stores.passkeys.of_renter(renter_id)
            ],
            "attestation": "none",
            "timeout": TIMEOUT_MS,
        }
    )


@router.post(KEPT)
def keep(request: Request, desk: OfDesk, visitor: Rules, form: Posted) -> Response:
    """A passkey that was made just now, for whoever is signed in."""
    check_token(desk, request, form, visitor.secret)
    site, name = _site(request), form.text("name")
    challenge = desk.challenges.read(form.text("nonce"), _purpose(visitor), visitor.secret)
    if challenge is None:
        raise _used_up(409)
    _count(desk, visitor.caller.renter_id)
    try:
        found = made(site, _bytes(challenge), form.text("credential"))
    except NotAuthentic as error:
        raise Refused(422, "NO_PASSKEY", str(error), "try again, with another authenticator") from None
    if not desk.challenges.take(challenge):
        raise _used_up(409)
    passkey = Passkey(
        passkey_id=_name_of(site, found.credential_id),
        renter_id=visitor.caller.renter_id,
        name=name[:MOST_NAME] or "passkey",
        credential_id=found.credential_id,
        public_key=found.public_key,
        sign_count=found.sign_count,
        created_at=desk.market.now(),
    )
    if not desk.stores.passkeys.add(passkey):
        raise Refused(409, "NAME_TAKEN", "this passkey is kept already", "use another authenticator")
    return RedirectResponse("/account#passkeys", 303)


@router.post(f"{KEPT}/{{name}}/forget")
def forget(name: NamePath, request: Request, desk: OfDesk, visitor: Rules, form: Posted) -> Response:
    """It opens nothing from now on, and browsers that were signed in with it are signed out."""
    check_token(desk, request, form, visitor.secret)
    if not desk.stores.passkeys.drop(visitor.caller.renter_id, name):
        raise no_such("passkey", name, "/account")
    return RedirectResponse("/account#passkeys", 303)


# --- signing in with one ---------------------------------------------------------------------------


@router.get(f"{SIGN_IN}/options", dependencies=[Anybody])
def options_to_sign_in(request: Request, desk: OfDesk) -> Response:
    """What the browser asks its authenticator for: any passkey of this site."""
    challenge = desk.challenges.new(SIGN_IN, form_secret(request))
    return _json(
        {
            "challenge": challenge.text,
            "rpId": _site(request).rp_id,
            "userVerification": "required",
            "timeout": TIMEOUT_MS,
        }
    )


@router.post(SIGN_IN, dependencies=[Anybody])
def sign_in(request: Request, desk: OfDesk, form: PostedByAnybody) -> Response:
    """A session for the browser whose passkey answered; wrong answers are counted by address, as wrong keys are."""
    browser = check_opened(request, desk, form)
    then = own_path(form.text("then"), "/account")
    try:
        passkey_id = _used(request, desk, form.text("nonce"), form.text("credential"), browser)
    except Refused as refused:
        return sign_in_page(request, desk, then, refused, at="passkey")
    answer = RedirectResponse(then, 303)
    begin(request, answer, desk, passkey_id=passkey_id)
    return answer


def _used(request: Request, desk: Desk, nonce: str, credential: str, browser: str) -> str:
    """The passkey that answered, with its counter moved on."""
    site, address = _site(request), neighbourhood_of(request)
    check_guesses(desk, address)
    challenge = desk.challenges.read(nonce, SIGN_IN, browser)
    if challenge is None:
        raise _used_up(401)
    try:
        passkey = _known(desk, _name_of(site, credential_id_of(credential)))
        known = Known(passkey.public_key, passkey.sign_count, handle_of(desk, passkey.renter_id))
        count = used(site, _bytes(challenge), credential, known)
    except NotAuthentic as error:
        desk.failures.take(address)
        detail = f"this passkey opens nothing: {error}"
        raise Refused(401, "NO_PASSKEY", detail, "use another one, or an API key") from None
    _count(desk, passkey.renter_id)
    if not desk.challenges.take(challenge):
        raise _used_up(401)
    if not desk.stores.passkeys.use(passkey, count, desk.market.now()):
        raise Refused(401, "NO_PASSKEY", "this passkey was used elsewhere just now", "try again")
    return passkey.passkey_id


def _known(desk: Desk, passkey_id: str) -> Passkey:
    passkey = desk.stores.passkeys.get(passkey_id)
    if passkey is None:
        raise NotAuthentic("PASSKEY", "it is nobody's here, or was forgotten")
    return passkey


# --- helpers ---------------------------------------------------------------------------------------


def _site(request: Request) -> Site:
    site = site_of(request)
    if site is None:
        raise Refused(
            409, "NO_PASSKEYS", "browsers have no passkeys at this address", "use https, or http://localhost"
        )
    return site


def _count(desk: Desk, renter_id: str) -> None:
    """Refused when the renter has kept or used so many just now: who made its account itself could go on for ever."""
    grant = desk.passkey_uses.take(renter_id)
    if not grant.is_granted:
        raise Refused(
            429,
            "TOO_MANY_SIGN_INS",
            "too many passkeys of this account were kept or used just now",
            "wait a minute, then try again",
            headers=grant.headers,
        )


def _used_up(status: int) -> Refused:
    return Refused(status, "TOO_OLD", "this took longer than five minutes, or was sent twice", "try again")


def _name_of(site: Site, credential_id: bytes) -> str:
    return blake2b(site.rp_id.encode() + b"\n" + credential_id, digest_size=16).hexdigest()


def _purpose(visitor: Visitor) -> str:
    return f"{KEPT} {visitor.caller.renter_id}"


def _bytes(challenge: Challenge) -> bytes:
    return urlsafe_b64decode(challenge.text)


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _json(fields: dict[str, Any]) -> Response:
    return Response(json.dumps(fields), media_type="application/json", headers={"Cache-Control": "no-store"})


lead_to(router, "/account#passkeys", KEPT, f"{KEPT}/{{name}}/forget")
lead_to(router, "/sign-in", SIGN_IN)
