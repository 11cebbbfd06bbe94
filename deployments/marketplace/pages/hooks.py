"""Webhooks of an account: addresses that are told what happens to its leases, and what came of telling them."""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.models import NewWebhook, WebhookBody, WebhookChange
from deployments.marketplace.pages.forms import Faults, Form, Posted, check_token, faults_of, is_new, new_name
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.leading import lead_to
from deployments.marketplace.pages.visitors import Looks, Rules, Visitor
from deployments.marketplace.problems import Refused, problem_of
from deployments.marketplace.routes import webhooks as api_webhooks
from deployments.marketplace.routes.common import Cursor, WebhookId
from storage.errors import TooMany

router = page_router()
PATH = "/account/webhooks"
SHOWN = 50
"""Deliveries on one page."""
_SENT = (
    "this form was sent before: its webhook is in the list, and its secret was shown in the answer to that"
)
_ROTATED = (
    "this form was sent before, and the secret stays as it is; press the button to have another one made"
)
_PLACES = {"url": "url", "kinds": "kinds"}
_HINTS = {"kinds": "kinds of events are expected in capitals, as ACTIVE ENDED"}


@router.get(PATH)
def show_webhooks(request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """All of them, and the form for another one."""
    return _list(request, desk, visitor)


@router.post(PATH)
def make_webhook(request: Request, desk: OfDesk, visitor: Rules, form: Posted) -> Response:
    """An address that is told from now on; its secret is in this answer and nowhere else."""
    check_token(desk, request, form, visitor.secret)
    try:
        body = WebhookBody.model_validate({"url": form.text("url"), "kinds": _kinds(form)})
        if not is_new(desk, visitor.caller.renter_id, "webhook", form):
            return _list(request, desk, visitor, {"form": _SENT}, form)
        made = api_webhooks.add_webhook(body, visitor.caller, desk)
    except (ValidationError, Refused, TooMany) as error:
        return _list(request, desk, visitor, _faults(error), form)
    return _one(request, desk, visitor, made.webhook_id, made=made)


@router.get(f"{PATH}/{{webhook_id}}")
def show_webhook(
    webhook_id: WebhookId, request: Request, desk: OfDesk, visitor: Looks, cursor: Cursor = ""
) -> Response:
    """One of them with what it was told, newest first."""
    return _one(request, desk, visitor, webhook_id, cursor=cursor)


@router.post(f"{PATH}/{{webhook_id}}")
def change_webhook(
    webhook_id: WebhookId, request: Request, desk: OfDesk, visitor: Rules, form: Posted
) -> Response:
    """Its address, its kinds, and whether it is told."""
    check_token(desk, request, form, visitor.secret)
    wanted = {"url": form.text("url"), "kinds": _kinds(form), "is_enabled": form.text("is_enabled") == "yes"}
    try:
        body = WebhookChange.model_validate(wanted)
        api_webhooks.change_webhook(webhook_id, body, visitor.caller, desk)
    except (ValidationError, Refused) as error:
        if isinstance(error, Refused) and error.status == 404:
            raise
        return _one(request, desk, visitor, webhook_id, _faults(error), form)
    return RedirectResponse(f"{PATH}/{webhook_id}", 303)


@router.post(f"{PATH}/{{webhook_id}}/rotate")
def rotate_webhook(
    webhook_id: WebhookId, request: Request, desk: OfDesk, visitor: Rules, form: Posted
) -> Response:
    """Another secret, shown in this answer and nowhere else."""
    check_token(desk, request, form, visitor.secret)
    if not is_new(desk, visitor.caller.renter_id, "secret", form):
        return _one(request, desk, visitor, webhook_id, {"form": _ROTATED})
    made = api_webhooks.rotate_webhook(webhook_id, visitor.caller, desk)
    return _one(request, desk, visitor, webhook_id, made=made)


@router.post(f"{PATH}/{{webhook_id}}/forget")
def forget_webhook(
    webhook_id: WebhookId, request: Request, desk: OfDesk, visitor: Rules, form: Posted
) -> Response:
    """What is on its way to it is not sent any more."""
    check_token(desk, request, form, visitor.secret)
    api_webhooks.drop_webhook(webhook_id, visitor.caller, desk)
    return RedirectResponse(PATH, 303)


def _list(
    request: Request, desk: Desk, visitor: Visitor, faults: Faults | None = None, form: Form | None = None
) -> Response:
    return page(
        request,
        "webhooks.html",
        status=422 if faults else 200,
        webhooks=api_webhooks.list_webhooks(visitor.caller, desk).items,
        idempotency_key=new_name(),
        faults=faults or {},
        form=form or Form({}),
    )


def _one(
    request: Request,
    desk: Desk,
    visitor: Visitor,
    webhook_id: str,
    faults: Faults | None = None,
    form: Form | None = None,
    *,
    made: NewWebhook | None = None,
    cursor: str = "",
) -> Response:
    one = api_webhooks.get_webhook(webhook_id, visitor.caller, desk)
    kept: dict[str, Any] = {
        "url": [one.url],
        "kinds": [" ".join(one.kinds)],
        "is_enabled": ["yes" if one.is_enabled else ""],
    }
    return page(
        request,
        "webhook.html",
        status=422 if faults else 201 if made else 200,
        one=one,
        made=made,
        idempotency_key=new_name(),
        deliveries=api_webhooks.list_deliveries(webhook_id, visitor.caller, desk, SHOWN, cursor),
        faults=faults or {},
        form=form or Form(kept),
    )


def _kinds(form: Form) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[\s,]+", form.text("kinds")) if word)


def _faults(error: ValidationError | Refused | TooMany) -> Faults:
    if isinstance(error, ValidationError):
        return faults_of(error, _PLACES, "url", _HINTS)
    return {"url": problem_of(error).detail.removeprefix("body.url ")}


lead_to(router, f"{PATH}/{{webhook_id}}", f"{PATH}/{{webhook_id}}/rotate")
lead_to(router, PATH, f"{PATH}/{{webhook_id}}/forget")
