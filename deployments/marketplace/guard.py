"""Who asks, and whether it may: the API key of a request, its scope, and how often it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Annotated

from fastapi import Depends, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Cookie, Header, Path
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from deployments.marketplace.market import Desk
from deployments.marketplace.models import Fault
from deployments.marketplace.problems import Refused, printable
from storage.renter import ApiKey, Renter, RenterState, Scope
from tasks.renting.api_keys import allows, ended, fits, parse

_BEARER = HTTPBearer(
    auto_error=False, scheme_name="ApiKey", description="`Authorization: Bearer sn_<id>_<secret>`"
)
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="marketplace"'}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    renter: Renter
    key: ApiKey

    @property
    def renter_id(self) -> str:
        """Whose things it may see."""
        return self.renter.renter_id

    def check_not_stopped(self) -> None:
        """Refused when an operator has stopped the renter: it may look, end and fetch, but begin nothing."""
        if self.renter.state is RenterState.STOPPED:
            until = self.renter.grace_until
            grace = f"; what runs is ended at {until:%Y-%m-%d %H:%M} UTC" if until else ""
            detail = f"an operator has stopped this renter: {self.renter.reason or 'no reason given'}{grace}"
            raise Refused(403, "RENTER_STOPPED", detail, "save your data, and write to the operator")


def desk_of(request: Request) -> Desk:
    """What the app works with."""
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


def identify(desk: Desk, text: str, address: str) -> Caller:
    """Whose key this is; Refused when it is nobody's, or has ended. Guessing is slowed down by the address."""
    check_guesses(desk, address)
    token = parse(text)
    found = desk.stores.renters.key(token.key_id) if token else None
    if token is None or found is None or not fits(token, found[0]):
        desk.failures.take(address)
        raise Refused(
            401,
            "NO_SUCH_KEY",
            "this API key opens nothing",
            "send `Authorization: Bearer sn_...` with a key that you were shown",
            headers=_CHALLENGE,
        )
    key, renter = found
    if why := ended(key, desk.market.now()):
        raise Refused(401, "KEY_ENDED", why, "use another key, or have one made", headers=_CHALLENGE)
    return Caller(renter, key)


def check_guesses(desk: Desk, address: str) -> None:
    """Refused when so much that opens nothing was sent from this address that it is not looked whether more of it does."""
    guesses = desk.failures.peek(address)
    if not guesses.is_granted:
        raise Refused(
            429,
            "TOO_MANY_WRONG_KEYS",
            "too many keys that open nothing were sent from this address",
            "wait as long as Retry-After says, then send a right one",
            headers=guesses.headers,
        )


def caller(scope: Scope) -> Callable[..., Caller]:
    """The dependency of a route that needs this scope."""

    def check(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
        desk: Annotated[Desk, Depends(desk_of)],
    ) -> Caller:
        if credentials is None:
            raise Refused(
                401,
                "NO_KEY",
                "this needs an API key",
                "send `Authorization: Bearer sn_...`",
                headers=_CHALLENGE,
            )
        found = identify(desk, credentials.credentials, neighbourhood_of(request))
        spend(request, desk, found.key.key_id)
        if not allows(found.key, scope):
            has = ", ".join(one.value for one in found.key.scopes)
            detail = f"this key has the scopes {has}; {scope.value} is needed"
            raise Refused(403, "SCOPE_MISSING", detail, f"make a key with the scope {scope.value}")
        _check_question(request)
        if scope is Scope.READ:
            desk.known_keys.learn(request.headers["authorization"].encode("latin-1"), found.key)
        return Caller(found.renter, desk.stores.renters.touch_key(found.key, desk.market.now()))

    return check


def _check_question(request: Request) -> None:
    """Refused when the query names what the route is not described to take: a filter with a typo would show everything."""
    params = get_flat_params(request.scope["route"].dependant)
    known = [one.alias for one in params if not isinstance(one.field_info, (Path, Header, Cookie))]
    faults = [
        Fault(where=printable(f"query.{name}"), what="there is no such parameter")
        for name in request.query_params
        if name not in known
    ]
    if faults:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        mend = f"{takes}; /v1/openapi.json describes every one"
        raise Refused(422, "DOES_NOT_FIT", f"{faults[0].where}: {faults[0].what}", mend, faults=faults[:20])


def spend(request: Request, desk: Desk, key: str) -> None:
    """Count the request to its key, or to what stands for one; the answer has what is left."""
    grant = desk.per_key.take(key)
    request.state.rate = grant.headers
    if not grant.is_granted:
        raise Refused(
            429,
            "TOO_MANY_REQUESTS",
            f"this key is used more often than {desk.market.limits.per_key.per_s:g} times a second",
            "wait as long as Retry-After says",
            headers=grant.headers,
        )


def neighbourhood_of(request: Request) -> str:
    """By which those who ask are told apart where they have no key: see `neighbourhood`."""
    return neighbourhood(request.client.host if request.client else "")


def neighbourhood(address: str) -> str:
    """The address, or all of the network that one subscriber has of IPv6: whoever has one has billions of addresses."""
    if ":" not in address:
        return address or "unknown"
    try:
        found = IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Network((int(found) >> 64 << 64, 64)))


Reads = Annotated[Caller, Depends(caller(Scope.READ))]
Rents = Annotated[Caller, Depends(caller(Scope.RENT))]
Pays = Annotated[Caller, Depends(caller(Scope.MONEY))]
Rules = Annotated[Caller, Depends(caller(Scope.ADMIN))]
OfDesk = Annotated[Desk, Depends(desk_of)]
