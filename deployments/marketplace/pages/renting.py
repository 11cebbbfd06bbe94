"""The form that rents a machine: what it costs stands before the button."""

from __future__ import annotations

import secrets

from fastapi import Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.catalogue import Snapshot
from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.models import LeaseBody, Offer
from deployments.marketplace.pages.forms import Faults, Form, Posted, check_token, faults_of
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.ordering import (
    HINTS,
    OF_CODES,
    PLACES,
    body_of,
    field_of,
    order_of,
    price_of,
)
from deployments.marketplace.pages.visitors import Rents, Visitor
from deployments.marketplace.problems import Refused, problem_of
from deployments.marketplace.routes import keys as api_keys
from deployments.marketplace.routes import leases as api_leases
from deployments.marketplace.routes import templates as api_templates
from storage.errors import StorageError
from storage.rental import Mode
from tasks.errors import SpecRefused, UserError

router = page_router()
GENERAL = "form"
"""Where a fault stands that is no field's."""


@router.get("/rent")
def show_form(request: Request, desk: OfDesk, visitor: Rents) -> Response:
    """For the machine that the address names, with what else it names filled in."""
    given = {name: [value] for name, value in request.query_params.items()}
    form = Form({"template": ["ubuntu"], "ttl_h": ["2"], **given})
    return _form(request, desk, visitor, form, is_new=True)


@router.get("/rent/price")
def show_price(request: Request, desk: OfDesk, visitor: Rents) -> Response:
    """What stands before the button, for the numbers that are in the form now."""
    del visitor
    form = Form({name: [value] for name, value in request.query_params.items()})
    snapshot = desk.catalogue.snapshot()
    offer, order = _offer(snapshot, form), order_of(form)
    price = price_of(order, offer, desk.market.policy.renting, snapshot.demand)
    return page(request, "price.html", price=price, order=order)


@router.post("/rent")
def rent(request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """A lease, once for each form however often it is sent; or the form again, with what does not fit at its place."""
    check_token(desk, request, form, visitor.secret)
    if form.text("do") == "price":
        return _form(request, desk, visitor, form)
    snapshot = desk.catalogue.snapshot()
    offer, order = _offer(snapshot, form), order_of(form)
    price = price_of(order, offer, desk.market.policy.renting, snapshot.demand)
    seen = int(form.text("seen")[:18]) if form.text("seen").isdecimal() else -1
    key = form.text("idempotency_key")
    is_sent_again = desk.stores.rentals.of_key(visitor.caller.renter_id, key) is not None
    if not is_sent_again and price.micro_usd_per_hour > seen:
        told = "it costs more than what was shown here: look at the price, then press the button again"
        return _form(request, desk, visitor, form, {**order.faults, GENERAL: told})
    body, faults = body_of(form, order, offer, max(0, seen))
    faults = {**order.faults, **faults}
    if faults:
        return _form(request, desk, visitor, form, faults)
    answer = Response()
    try:
        wanted = LeaseBody.model_validate(body)
        lease = api_leases.ask(request, answer, wanted, _checked(key), visitor.caller, desk)
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
        price=price_of(order, offer, desk.market.policy.renting, snapshot.demand),
        order=order,
        modes=tuple(Mode),
        templates=api_templates.list_templates(caller, desk).items,
        ssh_keys=api_keys.list_ssh_keys(caller, desk).items,
        chosen_keys=None if is_new else form.all("ssh_keys"),
        idempotency_key=_key_of(form, found),
    )


def _key_of(form: Form, faults: Faults) -> str:
    """A form that was refused goes on under its name: nothing was kept of it, or it was and is the same."""
    kept = form.text("idempotency_key")
    is_used_up = faults.get(GENERAL, "").startswith("this Idempotency-Key")
    return kept if kept and not is_used_up else f"page-{secrets.token_hex(12)}"


def _checked(key: str) -> str:
    if not (key.isascii() and key.isprintable() and 0 < len(key) <= 200 and " " not in key):
        raise Refused(422, "BAD_KEY", "this form has lost its name", "load the page again")
    return key


def _offer(snapshot: Snapshot, form: Form) -> Offer:
    found = snapshot.by_key.get(form.text("machine"))
    if found is None:
        raise Refused(404, "NOT_FOUND", "this machine is not on offer now", "choose another one in the list")
    return found


def _faults_of(error: Exception) -> Faults:
    """The refusal at the field that it is about."""
    if isinstance(error, SpecRefused):
        return {field_of(error): str(error)}
    refused = problem_of(error)
    return {OF_CODES.get(refused.code, GENERAL): f"{refused.detail}; {refused.mend}"}
