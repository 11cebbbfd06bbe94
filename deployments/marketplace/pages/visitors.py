"""Who looks at a page: somebody unknown, or a browser that was signed in with an API key, which may what that key may.

    cookie ──digest──► session ──► API key ──► Caller, as of the API

The cookie is a random secret of which we keep the digest alone; scripts can't read it, other sites can't have it sent, and where
there is TLS it goes by TLS only. A key that is revoked or ends takes its sessions with it.
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

from deployments.marketplace.guard import Caller, OfDesk, address_of, spend
from deployments.marketplace.market import Desk
from deployments.marketplace.problems import Refused
from storage.renter import ApiKey, PageSession, Scope
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


def visitor_of(request: Request, desk: OfDesk) -> Visitor | None:
    """Who has sent this; nobody without a session that lives, which costs the address a visit."""
    found = _signed_in(desk, request.cookies.get(cookie_name(request), ""))
    request.state.visitor = found
    if found is not None:
        spend(request, desk, found.caller.key)
        return found
    grant = desk.visits.take(address_of(request))
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


def sign_in(request: Request, response: Response, desk: Desk, key: ApiKey) -> None:
    """Begin a session of this key, and give it to the browser."""
    secret, now = secrets.token_urlsafe(32), desk.market.now()
    desk.stores.renters.touch_key(key, now)
    desk.stores.page_sessions.begin(PageSession(_digest(secret), key.key_id, now, now + LASTS))
    set_cookie(request, response, cookie_name(request), secret, round(LASTS.total_seconds()))


def sign_out(request: Request, response: Response, desk: Desk, visitor: Visitor) -> None:
    """End it here, whatever the browser does with its cookie."""
    desk.stores.page_sessions.end(_digest(visitor.secret))
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


def _signed_in(desk: Desk, secret: str) -> Visitor | None:
    """The session of this secret, and the key behind it, if both live."""
    now = desk.market.now()
    session = desk.stores.page_sessions.get(_digest(secret), now) if 0 < len(secret) <= 100 else None
    found = desk.stores.renters.key(session.key_id) if session else None
    if found is None or ended(found[0], now):
        return None
    key, renter = found
    return Visitor(Caller(renter, desk.stores.renters.touch_key(key, now)), secret)


def _digest(secret: str) -> str:
    return blake2b(secret.encode(), digest_size=32).hexdigest()


MaybeVisitor = Annotated[Visitor | None, Depends(visitor_of)]
Looks = Annotated[Visitor, Depends(allowed(Scope.READ))]
Rents = Annotated[Visitor, Depends(allowed(Scope.RENT))]
Rules = Annotated[Visitor, Depends(allowed(Scope.ADMIN))]
