"""The form that rents a machine: what it costs stands before the button."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.catalogue import Snapshot
from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.models import LeaseBody, Offer
from deployments.marketplace.pages.forms import Faults, Form, Posted, check_token, faults_of, name_of
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.mending import SENT_BEFORE, reason_of
from deployments.marketplace.pages.ordering import (
    ADDRESSED,
    HINTS,
    MORE,
    OF_CODES,
    PLACES,
    PRICED,
    REGISTRY,
    Order,
    Price,
    body_of,
    field_of,
    models_of,
    order_of,
    price_of,
    regions_of,
    total_of,
)
from deployments.marketplace.pages.visitors import Rents, Visitor
from deployments.marketplace.problems import Refused, problem_of
from deployments.marketplace.routes import keys as api_keys
from deployments.marketplace.routes import leases as api_leases
from deployments.marketplace.routes import templates as api_templates
from storage.errors import StorageError
from tasks.errors import SpecRefused, UserError

router = page_router()
GENERAL = "form"
"""Where a fault stands that is no field's."""


@router.get("/rent")
def show_form(request: Request, desk: OfDesk, visitor: Rents) -> Response:
    """For the machine that the address names or any that fits; of what runs and who may log in it fills in the template alone."""
    given = {name: [value] for name, value in request.query_params.items() if name in ADDRESSED}
    count = {} if given.get("machine", [""])[0] else {"count": ["1"]}
    form = Form({"template": ["ubuntu"], "ttl_h": ["2"], **count, **given})
    return _form(request, desk, visitor, form, is_new=True)


@router.get("/rent/price")
def show_price(request: Request, desk: OfDesk, visitor: Rents) -> Response:
    """What stands before the button, for the numbers that are in the form now."""
    del visitor
    form = Form({name: [value] for name, value in request.query_params.items()})
    snapshot = desk.catalogue.snapshot()
    return page(request, "price.html", **_priced(desk, snapshot, _offer(snapshot, form), order_of(form)))


@router.post("/rent")
def rent(request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """A lease, once for each form however often it is sent; or the form again, with what does not fit at its place."""
    check_token(desk, request, form, visitor.secret)
    if form.text("do") == "price":
        return _form(request, desk, visitor, form)
    snapshot = desk.catalogue.snapshot()
    offer, order = _offer(snapshot, form), order_of(form)
    price = price_of(order, offer, snapshot, desk.market.policy.renting, desk.market.now())
    seen = int(form.text("seen")[:18]) if form.text("seen").isdecimal() else -1
    key = name_of(form)
    is_sent_again = desk.stores.rentals.of_key(visitor.caller.renter_id, key) is not None
    if not is_sent_again and (why_not := _why_not(order, offer, price, seen, desk.market.now())):
        return _form(request, desk, visitor, form, {**order.faults, **why_not})
    body, faults = body_of(form, order, offer, max(0, seen))
    faults = {**order.faults, **faults}
    if faults:
        return _form(request, desk, visitor, form, faults)
    answer = Response()
    try:
        wanted = LeaseBody.model_validate(body)
        lease = api_leases.ask(request, answer, wanted, key, visitor.caller, desk)
    except ValidationError as error:
        return _form(request, desk, visitor, form, faults_of(error, PLACES, GENERAL, HINTS))
    except (UserError, StorageError) as error:
        return _form(request, desk, visitor, form, _faults_of(error))
    return RedirectResponse(f"/leases/{lease.lease_id}", 303)


def _form(
    request: Request,
    desk: Desk,
    visitor: Visitor,
    form: Form,
    faults: Faults | None = None,
    *,
    is_new: bool = False,
) -> Response:
    snapshot, caller = desk.catalogue.snapshot(), visitor.caller
    offer, order = _offer(snapshot, form), order_of(form)
    found = {**order.faults, **(faults or {})}
    return page(
        request,
        "rent.html",
        status=422 if faults else 200,
        offer=offer,
        form=form,
        faults=found,
        **_priced(desk, snapshot, offer, order),
        priced=" ".join(PRICED),
        models=models_of(snapshot),
        regions=regions_of(snapshot),
        is_more_open=any(form.text(name) or name in found for name in MORE),
        is_registry_open=any(form.text(name) or name in found for name in REGISTRY),
        is_password_gone=bool(form.text("registry_password")),
        templates=api_templates.list_templates(caller, desk).items,
        ssh_keys=api_keys.list_ssh_keys(caller, desk).items,
        chosen_keys=None if is_new else form.all("ssh_keys"),
        idempotency_key=_key_of(form, found),
    )


def _why_not(order: Order, offer: Offer | None, price: Price, seen: int, now: datetime) -> Faults:
    """What is told before the API is asked: a price that was not shown, a time that has passed, nothing that fits."""
    if price.first_micro_usd_per_hour > seen:
        told = "it costs more than what was shown here: look at the price, then press the button again"
        return {GENERAL: told}
    if order.ends_by is not None and order.ends_by <= now:
        return {"until": "this time has passed already"}
    if offer is None and not price.fits and not order.faults:
        place = next((field for field in ("bid", "hours") if price.why_not.startswith(field)), GENERAL)
        return {place: price.why_not}
    return {}


def _priced(desk: Desk, snapshot: Snapshot, offer: Offer | None, order: Order) -> dict[str, Any]:
    """What stands before the button."""
    now = desk.market.now()
    price = price_of(order, offer, snapshot, desk.market.policy.renting, now)
    return {
        "order": order,
        "price": price,
        "lasts_s": order.lasts_s(now),
        "first_total": total_of(order, price.first_micro_usd_per_hour, now),
    }


def _key_of(form: Form, faults: Faults) -> str:
    """A form that was refused goes on under its name: nothing was kept of it, or it was and is the same."""
    kept = form.text("idempotency_key")
    is_used_up = faults.get(GENERAL, "").startswith(SENT_BEFORE)
    return kept if kept and not is_used_up else f"page-{secrets.token_hex(12)}"


def _offer(snapshot: Snapshot, form: Form) -> Offer | None:
    """The machine that is named; None: any that fits."""
    if not form.text("machine"):
        return None
    found = snapshot.by_key.get(form.text("machine"))
    if found is None:
        raise Refused(404, "NOT_FOUND", "this machine is not on offer now", "choose another one in the list")
    return found


def _faults_of(error: Exception) -> Faults:
    """The refusal at the field that it is about."""
    if isinstance(error, SpecRefused):
        return {field_of(error): str(error)}
    refused = problem_of(error)
    return {OF_CODES.get(refused.code, GENERAL): reason_of(refused)}
