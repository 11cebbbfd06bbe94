"""Who looks at a page: somebody unknown, or a browser that was signed in with an API key, a passkey or a hotkey's signature.

    cookie ──digest──► session ─┬─► API key ──► Visitor: a Caller as of the API, who may what that key may
                                ├─► passkey ──► Visitor: the same, by a key that stands for it and may everything
                                └─► hotkey ───► Keyholder: a miner or an operator, who may nothing that a renter may

The cookie is a random secret of which we keep the digest alone; scripts can't read it, other sites can't have it sent, and where
there is TLS it goes by TLS only. A key that is revoked or ends, or a passkey that is forgotten, takes its
sessions with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from ipaddress import ip_address
from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from deployments.marketplace.guard import Caller, OfDesk, neighbourhood_of, spend
from deployments.marketplace.market import Desk
from deployments.marketplace.problems import Refused
from storage.renter import PageSession, Scope
from tasks.renting.api_keys import allows, ended

LASTS = timedelta(hours=12)
_COOKIE = "session"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser that is signed in."""

    caller: Caller
    secret: str = field(repr=False)
    """What its cookie holds."""

    def may(self, scope: str) -> bool:
        """Whether its key allows this."""
        return allows(self.caller.key, Scope(scope))


@dataclass(frozen=True, slots=True)
class Keyholder:
    """A browser whose user has signed with a hotkey."""

    hotkey: str
    """SS58."""
    is_operator: bool
    secret: str = field(repr=False)
    """What its cookie holds."""


def visitor_of(request: Request, desk: OfDesk) -> Visitor | None:
    """The renter who has sent this; nobody without a session that lives, which costs the address a visit."""
    found = _signed_in(desk, request.cookies.get(cookie_name(request), ""))
    visitor = found if isinstance(found, Visitor) else None
    request.state.visitor = visitor
    request.state.keyholder = found if isinstance(found, Keyholder) else None
    if found is not None:
        spend(request, desk, found.hotkey if isinstance(found, Keyholder) else found.caller.key.key_id)
        return visitor
    grant = desk.visits.take(neighbourhood_of(request))
    if not grant.is_granted:
        raise Refused(
            429,
            "TOO_MANY_REQUESTS",
            "too many pages are asked for from this address",
            "wait a moment, then load it again",
            headers=grant.headers,
        )
    return None


def allowed(scope: Scope) -> Callable[..., Visitor]:
    """The dependency of a page that needs this scope."""

    def check(visitor: MaybeVisitor) -> Visitor:
        if visitor is None:
            raise Refused(401, "SIGNED_OUT", "this page is for whoever is signed in", "sign in")
        if not visitor.may(scope):
            has = ", ".join(one.value for one in visitor.caller.key.scopes)
            detail = f"the key that you signed in with has the scopes {has}; {scope.value} is needed"
            raise Refused(
                403, "SCOPE_MISSING", detail, f"sign in with a key that has the scope {scope.value}"
            )
        return visitor

    return check


def keyholder_of(request: Request, visitor: MaybeVisitor) -> Keyholder | None:
    """The miner or operator who has sent this."""
    del visitor  # who, as it was found out, says also who else it may be
    found = request.state.keyholder
    assert found is None or isinstance(found, Keyholder)
    return found


def mines(keyholder: MaybeKeyholder) -> Keyholder:
    """Whoever has signed with a hotkey, whichever."""
    if keyholder is None:
        raise Refused(
            401, "NO_HOTKEY", "this page is for whoever has signed with a hotkey", "sign in with a hotkey"
        )
    return keyholder


def operates(keyholder: Mines) -> Keyholder:
    """Whoever has signed with an operator's hotkey."""
    if not keyholder.is_operator:
        raise Refused(
            403,
            "NO_OPERATOR",
            f"the hotkey {keyholder.hotkey} is no operator's",
            "sign in with the validator's hotkey, or have yours named in SUBNET_OPERATORS",
        )
    return keyholder


def begin(request: Request, response: Response, desk: Desk, **holder: str) -> None:
    """Begin a session and give it to the browser; of whom, as `session_of` has it."""
    give(request, response, session_of(request, desk, **holder))


def session_of(
    request: Request,
    desk: Desk,
    *,
    key_id: str | None = None,
    passkey_id: str | None = None,
    hotkey: str | None = None,
) -> str:
    """A new session of one of these in the place of any that the browser had: what its cookie has to hold."""
    if had := request.cookies.get(cookie_name(request), "")[:100]:
        desk.stores.page_sessions.end(digest_of(had))
    secret, now = secrets.token_urlsafe(32), desk.market.now()
    session = PageSession(digest_of(secret), now, now + LASTS, key_id, passkey_id, hotkey)
    desk.stores.page_sessions.begin(session)
    return secret


def give(request: Request, response: Response, secret: str) -> None:
    """The session's cookie."""
    set_cookie(request, response, cookie_name(request), secret, round(LASTS.total_seconds()))


def end(request: Request, response: Response, desk: Desk, secret: str) -> None:
    """End the session of this secret here, whatever the browser does with its cookie."""
    desk.stores.page_sessions.end(digest_of(secret))
    set_cookie(request, response, cookie_name(request), "", 0)


def set_cookie(request: Request, response: Response, name: str, value: str, lasts_s: int) -> None:
    """One that only we get back."""
    response.set_cookie(
        name,
        value,
        max_age=lasts_s,
        path="/",
        secure=has_tls(request),
        httponly=True,
        samesite="strict",
    )


def cookie_name(request: Request, name: str = _COOKIE) -> str:
    """With TLS under a name that no neighbour of ours and no connection without TLS can set."""
    return f"__Host-{name}" if has_tls(request) else name


def has_tls(request: Request) -> bool:
    """Whether the browser speaks TLS, to us or to a proxy of ours."""
    return request.url.scheme == "https"


def is_private(request: Request) -> bool:
    """Whether a key that is typed in can be read by nobody on its way: with TLS, or within one computer."""
    host = request.url.hostname or ""
    if has_tls(request) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def digest_of(secret: str) -> str:
    """By which a session is known."""
    return blake2b(secret.encode(), digest_size=32).hexdigest()


def _signed_in(desk: Desk, secret: str) -> Visitor | Keyholder | None:
    """The session of this secret, and what is behind it, if both live."""
    now = desk.market.now()
    session = desk.stores.page_sessions.get(digest_of(secret), now) if 0 < len(secret) <= 100 else None
    if session is None:
        return None
    if session.hotkey is not None:
        return Keyholder(session.hotkey, session.hotkey in desk.market.operators, secret)
    found = desk.stores.renters.key(session.key_id or session.passkey_id or "")
    if found is None or ended(found[0], now):
        return None
    key, renter = found
    return Visitor(Caller(renter, desk.stores.renters.touch_key(key, now)), secret)


MaybeVisitor = Annotated[Visitor | None, Depends(visitor_of)]
MaybeKeyholder = Annotated[Keyholder | None, Depends(keyholder_of)]
Mines = Annotated[Keyholder, Depends(mines)]
Operates = Annotated[Keyholder, Depends(operates)]
Looks = Annotated[Visitor, Depends(allowed(Scope.READ))]
Rents = Annotated[Visitor, Depends(allowed(Scope.RENT))]
Rules = Annotated[Visitor, Depends(allowed(Scope.ADMIN))]
