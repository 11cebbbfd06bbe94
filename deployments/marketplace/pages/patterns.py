"""Templates of an account: pods that are started often, beside those that come with the marketplace."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.models import NewTemplateBody, Template, TemplateBody
from deployments.marketplace.pages.forms import Faults, Form, Posted, check_token, faults_of
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.leading import lead_to
from deployments.marketplace.pages.ordering import (
    HINTS,
    MORE,
    OF_CODES,
    PLACES,
    REGISTRY,
    field_of,
    fields_of,
    pod_of,
)
from deployments.marketplace.pages.visitors import Looks, Rents, Visitor
from deployments.marketplace.problems import Refused, problem_of
from deployments.marketplace.routes import templates as api_templates
from deployments.marketplace.routes.common import NamePath
from storage.errors import TooMany
from tasks.errors import SpecRefused

router = page_router()
PATH = "/account/templates"
_PLACES = {**PLACES, "name": "name", "about": "about"}
_HINTS = {**HINTS, "name": "a name of a-z, 0-9 and - is expected"}
_OF_CODES = {**OF_CODES, "NAME_TAKEN": "name", "TOO_MANY": "name"}


@router.get(PATH)
def show_templates(request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """All of them, and the form for another one."""
    return _list(request, desk, visitor, Form({}))


@router.post(PATH)
def keep_template(request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """A new one; values of its environment and the registry's login are sealed."""
    check_token(desk, request, form, visitor.secret)
    body, faults = _body(form)
    if faults:
        return _list(request, desk, visitor, form, faults)
    try:
        wanted = NewTemplateBody.model_validate({"name": form.text("name"), **body})
        api_templates.add_template(wanted, visitor.caller, desk)
    except (ValidationError, SpecRefused, Refused, TooMany) as error:
        return _list(request, desk, visitor, form, _faults(error))
    return RedirectResponse(PATH, 303)


@router.get(f"{PATH}/{{name}}")
def show_template(name: NamePath, request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """One of them; of one's own, the form that replaces it."""
    one = api_templates.get_template(name, visitor.caller, desk)
    kept = Form({**fields_of(one.pod).fields, "about": [one.about]})
    return _one(request, visitor, one, kept)


@router.post(f"{PATH}/{{name}}")
def replace_template(
    name: NamePath, request: Request, desk: OfDesk, visitor: Rents, form: Posted
) -> Response:
    """All of it: what is not in the form is not in it any more."""
    check_token(desk, request, form, visitor.secret)
    body, faults = _body(form)
    try:
        if not faults:
            wanted = TemplateBody.model_validate(body)
            api_templates.replace_template(name, wanted, visitor.caller, desk)
    except (ValidationError, SpecRefused, Refused) as error:
        if isinstance(error, Refused) and error.status == 404:
            raise
        faults = _faults(error)
    if faults:
        one = api_templates.get_template(name, visitor.caller, desk)
        return _one(request, visitor, one, form, faults)
    return RedirectResponse(f"{PATH}/{name}", 303)


@router.post(f"{PATH}/{{name}}/forget")
def forget_template(name: NamePath, request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """Leases that were made from it stay."""
    check_token(desk, request, form, visitor.secret)
    api_templates.drop_template(name, visitor.caller, desk)
    return RedirectResponse(PATH, 303)


def _list(
    request: Request, desk: Desk, visitor: Visitor, form: Form, faults: Faults | None = None
) -> Response:
    kept = api_templates.list_templates(visitor.caller, desk).items
    return page(
        request,
        "patterns.html",
        status=422 if faults else 200,
        templates=kept,
        **_form(form, faults),
    )


def _one(
    request: Request, visitor: Visitor, one: Template, form: Form, faults: Faults | None = None
) -> Response:
    del visitor
    return page(request, "pattern.html", status=422 if faults else 200, one=one, **_form(form, faults))


def _form(form: Form, faults: Faults | None) -> dict[str, Any]:
    """What the fields of a pod need beside themselves."""
    found = faults or {}
    return {
        "form": form,
        "faults": found,
        "is_more_open": any(form.text(name) or name in found for name in MORE),
        "is_registry_open": any(form.text(name) or name in found for name in REGISTRY),
        "is_password_gone": bool(form.text("registry_password")),
    }


def _body(form: Form) -> tuple[dict[str, Any], Faults]:
    faults: Faults = {}
    return {"about": form.text("about"), "pod": pod_of(form, faults)}, faults


def _faults(error: ValidationError | SpecRefused | Refused | TooMany) -> Faults:
    """What does not fit, at its field."""
    if isinstance(error, ValidationError):
        return faults_of(error, _PLACES, "image", _HINTS)
    if isinstance(error, SpecRefused):
        return {field_of(error): str(error)}
    refused = problem_of(error)
    return {_OF_CODES.get(refused.code, "image"): refused.detail}


lead_to(router, PATH, f"{PATH}/{{name}}/forget")
