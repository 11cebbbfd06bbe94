"""Everything that is answered instead of what was asked for: problem+json (RFC 9457) with a stable code and what to do.

Refused                 a request that we refuse: status, code, detail, mend
problem_of(error)       the same of any error of ours; what nobody foresaw is INTERNAL, and stands in our log alone
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from deployments.marketplace.models import Fault, Problem
from storage import errors as stored
from tasks import errors

MEDIA_TYPE = "application/problem+json"
RETRY_S = 2
_log = logging.getLogger("subnet.marketplace")
_MAX_FAULTS, _MAX_WORDS = 20, 500


class Refused(errors.UserError):
    """A request that is refused; `mend` says to its sender what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        mend: str,
        *,
        faults: Iterable[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.status, self.code, self.detail, self.mend = status, code, detail, mend
        self.faults, self.headers = tuple(faults), dict(headers or {})


@dataclass(frozen=True, slots=True)
class _Kind:
    """How errors of a class are answered."""

    status: int
    code: str
    mend: str
    headers: Mapping[str, str] = field(default_factory=dict)


_RETRY = {"Retry-After": str(RETRY_S)}
_KINDS: tuple[tuple[type[Exception], _Kind], ...] = (
    (stored.TooMany, _Kind(409, "TOO_MANY", "delete one that you don't need")),
    (stored.VolumeBusy, _Kind(409, "VOLUME_BUSY", "look at GET /v1/volumes: who has it, and where it is")),
    (stored.CardsTaken, _Kind(409, "CARDS_TAKEN", "choose another machine of GET /v1/offers")),
    (stored.ShortOfFunds, _Kind(402, "BALANCE_TOO_LOW", "transfer TAO as GET /v1/deposit says")),
    (stored.DatabaseAway, _Kind(503, "DATABASE_AWAY", "try again in a moment: nothing was changed", _RETRY)),
    (errors.SpecRefused, _Kind(422, "SPEC_REFUSED", "change what is named")),
    (errors.MoveRefused, _Kind(409, "NOT_FROM_THIS_STATE", "look at the lease's state")),
    (
        errors.HostAway,
        _Kind(504, "MACHINE_AWAY", "try again; a machine that stays away ends the lease, and is credited"),
    ),
    (errors.EngineAway, _Kind(504, "MACHINE_AWAY", "try again; its container engine does not answer")),
    (
        errors.EngineRefused,
        _Kind(502, "CONTAINER_REFUSED", "look at the lease; reboot it, or end it if that does not help"),
    ),
    (errors.MinerAway, _Kind(504, "MACHINE_AWAY", "try again; its miner did not answer for it")),
    (errors.HostileAnswer, _Kind(502, "MACHINE_ANSWERED_BADLY", "try again, or end the lease")),
    (errors.TransportError, _Kind(503, "AWAY", "try again in a moment", _RETRY)),
    (errors.UserError, _Kind(409, "REFUSED", "change what is named")),
)
_OF_STATUS = {
    400: ("BAD_REQUEST", "send what the OpenAPI at /v1/openapi.json describes"),
    404: ("NO_SUCH_PATH", "look at /v1/openapi.json for the paths that there are"),
    405: ("NO_SUCH_METHOD", "use a method of the Allow header"),
    413: ("TOO_LARGE", "send less"),
    415: ("NO_JSON", "send Content-Type: application/json"),
}


def problem_of(error: Exception) -> Refused:
    """How an error is answered; none of our insides is in it."""
    if isinstance(error, Refused):
        return error
    for kind, how in _KINDS:
        if isinstance(error, kind):
            return Refused(how.status, how.code, str(error)[:_MAX_WORDS], how.mend, headers=how.headers)
    reference = secrets.token_hex(6)
    _log.error("a request failed, reference %s", reference, exc_info=error)
    return Refused(
        500,
        "INTERNAL",
        "this is a fault of ours",
        f"tell the operator the reference {reference}, and try again",
    )


def answer(refused: Refused) -> Response:
    """The HTTP answer."""
    problem = Problem(
        type=f"/v1/problems#{refused.code.lower().replace('_', '-')}",
        title=HTTPStatus(refused.status).phrase,
        status=refused.status,
        detail=refused.detail,
        code=refused.code,
        mend=refused.mend,
        errors=refused.faults,
    )
    return Response(problem.model_dump_json(), refused.status, refused.headers, MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Have everything that an endpoint raises answered so."""
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    for kind in (errors.SubnetError, stored.StorageError, Exception):
        app.add_exception_handler(kind, _on_error)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its OpenAPI; those that every route has are added."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    all_of_them = sorted({*statuses, 400, 401, 403, 413, 422, 429, 500, 503})
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in all_of_them}


def no_such(what: str, name: str, where: str) -> Refused:
    """A thing that the renter does not have: whether somebody else has it is not told."""
    return Refused(404, "NOT_FOUND", f"you have no {what} {name[:100]!r}", f"look at GET {where}")


async def _on_error(request: Request, error: Exception) -> Response:
    del request
    return answer(problem_of(error))


async def on_http(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: paths and methods that there are not, bodies that can't be read."""
    assert isinstance(error, HTTPException)
    code, mend = _OF_STATUS.get(error.status_code, ("REFUSED", "look at /v1/openapi.json"))
    headers = dict(error.headers or {})
    if error.status_code == 405:  # Starlette names the methods of the first route of this path alone
        headers["Allow"] = ", ".join(_methods_of(request.app, request.url.path))
    return answer(Refused(error.status_code, code, str(error.detail)[:_MAX_WORDS], mend, headers=headers))


def _methods_of(app: FastAPI, path: str) -> list[str]:
    """All methods that a path has."""
    return sorted(
        {
            method.upper()
            for template, methods in app.openapi()["paths"].items()
            if re.fullmatch(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(template)), path)
            for method in methods
        }
    )


async def _on_invalid(request: Request, error: Exception) -> Response:
    """What does not fit, by its place; the values themselves, which may be secret, are not repeated."""
    del request
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    faults = [
        Fault(where=printable(".".join(str(part) for part in one["loc"])), what=printable(one["msg"]))
        for one in found[:_MAX_FAULTS]
    ]
    first = f"{faults[0].where}: {faults[0].what}" if faults else "it does not fit"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    mend = "change what `errors` names; /v1/openapi.json describes every field"
    return answer(Refused(422, "DOES_NOT_FIT", first + more, mend, faults=faults))


def printable(text: str) -> str:
    """Text that JSON in UTF-8 can hold, shortened: names in it were sent by anybody."""
    return text[:_MAX_WORDS].encode("utf-8", "replace").decode()
