"""Leases of whoever is signed in: the list, and one with its steps as they end, its ways in, its cost, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.fields import fingerprint_of
from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.models import KeysBody, Lease, LeaseChange, Operation, ReplaceBody
from deployments.marketplace.pages.forms import (
    Faults,
    Form,
    Posted,
    check_token,
    faults_of,
    lines_of,
    name_of,
)
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.leading import lead_to
from deployments.marketplace.pages.mending import reason_of
from deployments.marketplace.pages.metering import region
from deployments.marketplace.pages.ordering import (
    HINTS,
    OF_CODES,
    REGISTRY,
    field_of,
    order_of,
    replacement_of,
)
from deployments.marketplace.pages.remaining import remaining
from deployments.marketplace.pages.visitors import Looks, Rents, Visitor
from deployments.marketplace.problems import Refused, problem_of
from deployments.marketplace.routes import keys as api_keys
from deployments.marketplace.routes import leases as api_leases
from deployments.marketplace.routes import money as api_money
from deployments.marketplace.routes import operations as api_operations
from deployments.marketplace.routes import templates as api_templates
from deployments.marketplace.routes.common import LeaseId, own_lease
from storage.errors import StorageError
from storage.rental import RentalState
from storage.renter import Scope
from tasks.errors import SpecRefused, UserError
from tasks.renting.moves import CLOSED

router = page_router()
MOST = 100
EVENTS = 200
_SIMPLE: dict[str, Callable[[api_operations.Asked], Operation]] = {
    "stop": api_operations.stop,
    "start": api_operations.start,
    "reboot": api_operations.reboot,
}
_PLACES = {
    "ttl_s": "ttl_h",
    "cap_micro_usd": "cap",
    "idle_below_percent": "idle_percent",
    "idle_for_s": "idle_min",
    "image": "image",
    "template": "template",
    "entrypoint": "entrypoint",
    "words": "words",
    "environment": "environment",
    "registry.user": "registry_user",
    "registry.password": "registry_password",
    "registry.server": "registry_server",
    "add_named": "add_named",
    "add": "add",
    "remove": "remove",
}
_OF_REPLACE = ("entrypoint", "words", "environment", *REGISTRY)


@router.get("/leases")
def list_leases(request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """Newest first."""
    found = desk.stores.rentals.of_renter(visitor.caller.renter_id, MOST)
    shown = api_leases.show(desk, visitor.caller, found)
    values = {"etag": _etag_of(*shown), "going_etag": _etag_of(*_going(shown)), **_list(desk, shown)}
    return page(request, "leases.html", **values)


@router.get("/leases/now")
def list_now(request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """The table, for a page that is open already; nothing while nothing has changed."""
    found = desk.stores.rentals.of_renter(visitor.caller.renter_id, MOST)
    shown = api_leases.show(desk, visitor.caller, found)
    return _region(request, "leases_now.html", _etag_of(*shown), _list(desk, shown))


@router.get("/leases/going")
def list_going(request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """Those that are taken away, apart from what changes often: whoever listens to the page is told once."""
    found = desk.stores.rentals.of_renter(visitor.caller.renter_id, MOST)
    shown = api_leases.show(desk, visitor.caller, found)
    return _region(request, "leases_going.html", _etag_of(*_going(shown)), _list(desk, shown))


@router.get("/leases/{lease_id}")
def show_lease(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """Everything about it."""
    return _lease(lease_id, request, desk, visitor)


@router.get("/leases/{lease_id}/now")
def show_now(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """What changes by itself, for a page that is open already; nothing while nothing has changed."""
    lease = api_leases.get(lease_id, visitor.caller, desk)
    return _region(request, "lease_now.html", _etag(desk, lease), _values(desk, visitor, lease))


@router.get("/leases/{lease_id}/notice")
def show_notice(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """That it is taken away, apart from what changes often: whoever listens to the page is told once."""
    lease = api_leases.get(lease_id, visitor.caller, desk)
    return _region(request, "notice.html", _etag_of_notice(lease), _notice(desk, lease))


@router.get("/leases/{lease_id}/certificate")
def certificate(lease_id: LeaseId, desk: OfDesk, visitor: Looks) -> Response:
    """As the API answers it: a file to keep, and to judge without us."""
    told = api_leases.certificate(lease_id, visitor.caller, desk)
    headers = {"Content-Disposition": f'attachment; filename="{lease_id}-certificate.json"'}
    return Response(told.model_dump_json(), 200, headers, "application/json")


@router.post("/leases/{lease_id}/end")
def end(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """For good."""
    check_token(desk, request, form, visitor.secret)
    if form.text("sure") != "yes":
        return _lease(
            lease_id, request, desk, visitor, {"sure": "it is ended for good: say that you are sure"}
        )
    api_leases.end(lease_id, visitor.caller, desk)
    return _back(lease_id)


@router.post("/leases/{lease_id}/limits")
def limits(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """Its time from the hand-over, its end, its cap, when it is idle; a field that is empty is no limit."""
    check_token(desk, request, form, visitor.secret)
    order = order_of(form)
    if order.faults:
        return _lease(lease_id, request, desk, visitor, order.faults, form)
    wanted = LeaseChange(
        ends_by=order.ends_by,
        ttl_s=order.ttl_s,
        cap_micro_usd=order.cap_micro_usd,
        idle_below_percent=order.idle_percent,
        idle_for_s=order.idle_s,
    )
    return _done(
        lease_id,
        request,
        desk,
        visitor,
        form,
        lambda: api_leases.change(lease_id, wanted, visitor.caller, desk),
    )


@router.post("/leases/{lease_id}/{what}")
def operate(
    lease_id: LeaseId, what: str, request: Request, desk: OfDesk, visitor: Rents, form: Posted
) -> Response:
    """Stop, start, reboot, another image, other keys: kept, and done as soon as it can be."""
    check_token(desk, request, form, visitor.secret)
    lease = own_lease(desk, visitor.caller, lease_id)
    key = f"page-{what}-{lease_id}-{name_of(form)}"
    asked = api_operations.Asked(request, Response(), desk, visitor.caller, lease, key)
    match what:
        case "replace":
            named, faults = replacement_of(form)
            if faults:
                return _lease(lease_id, request, desk, visitor, faults, form)
            return _done(
                lease_id,
                request,
                desk,
                visitor,
                form,
                lambda: api_operations.replace(ReplaceBody.model_validate(named), asked),
            )
        case "keys":
            body = {
                "add": tuple(lines_of(form.text("add"))),
                "add_named": form.all("add_named"),
                "remove": form.all("remove"),
            }
            return _done(
                lease_id,
                request,
                desk,
                visitor,
                form,
                lambda: api_operations.keys(KeysBody.model_validate(body), asked),
            )
        case _ if what in _SIMPLE:
            return _done(lease_id, request, desk, visitor, form, lambda: _SIMPLE[what](asked))
        case _:
            raise Refused(404, "NO_SUCH_PATH", "there is no such operation", "go back to the lease")


def _done(
    lease_id: str,
    request: Request,
    desk: Desk,
    visitor: Visitor,
    form: Form,
    act: Callable[[], object],
) -> Response:
    """Back to the lease; or the lease with why not, at the field or above all."""
    try:
        act()
    except ValidationError as error:
        return _lease(lease_id, request, desk, visitor, faults_of(error, _PLACES, "form", HINTS), form)
    except (UserError, StorageError) as error:
        refused = problem_of(error)
        if refused.status == 404:
            raise
        place = field_of(error) if isinstance(error, SpecRefused) else OF_CODES.get(refused.code, "form")
        return _lease(lease_id, request, desk, visitor, {place: reason_of(refused)}, form)
    return _back(lease_id)


def _back(lease_id: str) -> Response:
    return RedirectResponse(f"/leases/{lease_id}", 303)


def _lease(
    lease_id: str,
    request: Request,
    desk: Desk,
    visitor: Visitor,
    faults: Faults | None = None,
    form: Form | None = None,
) -> Response:
    lease, caller = api_leases.get(lease_id, visitor.caller, desk), visitor.caller
    typed = form.fields if form else {}
    ssh_keys = api_keys.list_ssh_keys(caller, desk).items
    return page(
        request,
        "lease.html",
        status=422 if faults else 200,
        etag=_etag(desk, lease),
        notice_etag=_etag_of_notice(lease),
        **_notice(desk, lease),
        faults=faults or {},
        form=Form({**_standing(lease).fields, **typed}),
        templates=api_templates.list_templates(caller, desk).items,
        let_in=[(fingerprint_of(line), line.split(" ", 2)[2:]) for line in lease.pod.public_keys],
        ssh_keys=[key for key in ssh_keys if key.public_line not in lease.pod.public_keys],
        is_more_open=any(
            name in told and told[name] != [""] for name in _OF_REPLACE for told in (typed, faults or {})
        ),
        is_password_gone=typed.get("registry_password", [""]) != [""],
        metering=region(
            desk, own_lease(desk, visitor.caller, lease_id), request.query_params.get("span", "")
        ),
        **_values(desk, visitor, lease),
    )


def _values(desk: Desk, visitor: Visitor, lease: Lease) -> dict[str, Any]:
    """What the changing part of the page is made of."""
    rental = own_lease(desk, visitor.caller, lease.lease_id)
    balance = api_money.balance(visitor.caller, desk) if visitor.may(Scope.MONEY) else None
    operations = api_operations.list_operations(lease.lease_id, visitor.caller, desk, 20).items
    return {
        "lease": lease,
        "now": desk.market.now(),
        "is_over": lease.state in CLOSED,
        "is_on_its_way": lease.state
        in (RentalState.REQUESTED, RentalState.RESERVED, RentalState.PROVISIONING),
        "left": remaining(rental, balance, desk.market.now()),
        "events": desk.stores.events.newest(lease.lease_id, EVENTS, without=("STEP",)),
        "most_events": EVENTS,
        "operations": operations,
        "press": f"{lease.version}-{operations[0].operation_id if operations else 'first'}",
        "proofs": desk.stores.certificates.of_lease(lease.lease_id),
        "may_rent": visitor.may(Scope.RENT),
    }


def _notice(desk: Desk, lease: Lease) -> dict[str, Any]:
    """Until when it is, and why it is not for longer; nothing of one that is over or was given no notice."""
    is_noticed = lease.notice_until is not None and lease.state not in CLOSED
    told = desk.stores.events.newest(lease.lease_id, 1, only="NOTICE") if is_noticed else ()
    return {"noticed": lease if is_noticed else None, "why_noticed": told[0].message if told else ""}


def _etag_of_notice(lease: Lease) -> str:
    return _etag_of(lease.notice_until, lease.state in CLOSED)


def _standing(lease: Lease) -> Form:
    """The limits as they are."""
    terms = lease.terms
    return Form(
        {
            "ttl_h": [_decimal(terms.ttl_s / 3_600)],
            "cap": [_decimal(terms.cap_micro_usd / 1e6)],
            "until": [f"{lease.ends_by:%Y-%m-%dT%H:%M:%S}" if lease.ends_by else ""],
            "idle_percent": [_decimal(terms.idle_below_percent)],
            "idle_min": [_decimal(terms.idle_for_s / 60)],
        }
    )


def _decimal(number: float) -> str:
    """As the fields take it: six decimals at most, empty for none."""
    return f"{number:.6f}".rstrip("0").rstrip(".") if number else ""


def _etag(desk: Desk, lease: Lease) -> str:
    """Of everything that is shown: the lease, its cost so far and what was told of it last."""
    return _etag_of(lease, desk.stores.events.last())


def _etag_of(*shown: object) -> str:
    told = "\n".join(one.model_dump_json() if isinstance(one, Lease) else str(one) for one in shown)
    return f'"{blake2b(told.encode(), digest_size=12).hexdigest()}"'


def _region(request: Request, template: str, etag: str, values: dict[str, Any]) -> Response:
    """A part of a page that is open already; nothing while nothing has changed."""
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"ETag": etag})
    return page(request, template, headers={"ETag": etag}, **values)


def _list(desk: Desk, shown: list[Lease]) -> dict[str, Any]:
    names = {lease_id for lease_id, _ in _going(shown)}
    going = [lease for lease in shown if lease.lease_id in names]
    return {"leases": shown, "going": going, "now": desk.market.now(), "most": MOST}


def _going(shown: list[Lease]) -> list[tuple[str, datetime]]:
    """Those that are taken away, and when."""
    return [
        (lease.lease_id, lease.notice_until)
        for lease in shown
        if lease.notice_until is not None and lease.state not in CLOSED
    ]


lead_to(
    router,
    "/leases/{lease_id}",
    *(f"/leases/{{lease_id}}/{what}" for what in ("end", "limits", "replace", "keys", *_SIMPLE)),
)
