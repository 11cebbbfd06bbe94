"""A renter's account: what it has, what it paid, and the keys to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.models import ApiKeyBody, NewApiKey, SshKeyBody
from deployments.marketplace.pages.forms import Faults, Form, Posted, check_token, faults_of, is_new, new_name
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.leading import lead_to
from deployments.marketplace.pages.ordering import HINTS
from deployments.marketplace.pages.sites import better_place, site_of
from deployments.marketplace.pages.visitors import Looks, Rents, Rules, Visitor
from deployments.marketplace.problems import Refused, problem_of
from deployments.marketplace.routes import keys as api_keys
from deployments.marketplace.routes import money as api_money
from deployments.marketplace.routes.common import KeyId, NamePath
from storage.errors import TooMany
from storage.renter import Scope
from tasks.renting.api_keys import ended
from tasks.renting.money import renter

router = page_router()
MONTHS = 12
MOST_DAYS = 9_999
ENDED_SHOWN = 20
_SSH_PLACES = {"name": "ssh_name", "public_line": "public_line"}
_SENT = (
    "this form was sent before: the key that it made was shown in the answer to that, and is in the list; "
    "revoke it if you have not kept it, and make another one"
)
_PLACES = {"name": "name", "scopes": "scopes", "expires_at": "days"}


@router.get("/account")
def account(
    request: Request,
    desk: OfDesk,
    visitor: Looks,
    month: Annotated[str, Query(pattern=r"^(2[0-9]{3}-(0[1-9]|1[0-2]))?$")] = "",
) -> Response:
    """Balance, months, the lines of one of them, API keys."""
    return _account(request, desk, visitor, month)


@router.post("/account/keys")
def make_key(request: Request, desk: OfDesk, visitor: Rules, form: Posted) -> Response:
    """A new API key, shown in this answer and nowhere else."""
    check_token(desk, request, form, visitor.secret)
    days = form.text("days")
    if days and not (days.isascii() and days.isdecimal() and 0 < int(days[:5]) <= MOST_DAYS):
        faults = {"days": f"a number from 1 to {MOST_DAYS} is expected"}
        return _account(request, desk, visitor, faults=faults, form=form)
    try:
        body = _key_body(form, desk.market.now())
        if not is_new(desk, visitor.caller.renter_id, "key", form):
            return _account(request, desk, visitor, faults={"key": _SENT}, form=form)
        made = api_keys.make_api_key(body, visitor.caller, desk)
    except ValidationError as error:
        return _account(request, desk, visitor, faults=faults_of(error, _PLACES, "name"), form=form)
    except TooMany as error:
        return _account(request, desk, visitor, faults={"name": str(error)}, form=form)
    return _account(request, desk, visitor, made=made)


@router.post("/account/keys/{key_id}/revoke")
def revoke_key(key_id: KeyId, request: Request, desk: OfDesk, visitor: Rules, form: Posted) -> Response:
    """It opens nothing from now on, and browsers that were signed in with it are signed out."""
    check_token(desk, request, form, visitor.secret)
    api_keys.revoke_api_key(key_id, visitor.caller, desk)
    return RedirectResponse("/account#keys", 303)


@router.post("/account/ssh-keys")
def keep_ssh_key(request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """New leases let it in."""
    check_token(desk, request, form, visitor.secret)
    try:
        body = SshKeyBody(name=form.text("ssh_name"), public_line=form.text("public_line"))
        api_keys.add_ssh_key(body, visitor.caller, desk)
    except ValidationError as error:
        return _account(
            request, desk, visitor, faults=faults_of(error, _SSH_PLACES, "ssh_name", HINTS), form=form
        )
    except (Refused, TooMany) as error:
        return _account(request, desk, visitor, faults={"ssh_name": problem_of(error).detail}, form=form)
    return RedirectResponse("/account#ssh-keys", 303)


@router.post("/account/ssh-keys/{name}/forget")
def forget_ssh_key(name: NamePath, request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """Leases that stand let it in until it is removed from them."""
    check_token(desk, request, form, visitor.secret)
    api_keys.drop_ssh_key(name, visitor.caller, desk)
    return RedirectResponse("/account#ssh-keys", 303)


def _account(
    request: Request,
    desk: Desk,
    visitor: Visitor,
    month: str = "",
    *,
    faults: Faults | None = None,
    form: Form | None = None,
    made: NewApiKey | None = None,
) -> Response:
    now = desk.market.now()
    begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC) if month else now.replace(day=1)
    return page(
        request,
        "account.html",
        status=422 if faults else 201 if made else 200,
        now=now,
        me=api_keys.me(visitor.caller),
        money=_money(desk, visitor, begin) if visitor.may(Scope.MONEY) else None,
        keys=_keys(desk, visitor, now) if visitor.may(Scope.ADMIN) else None,
        ssh_keys=api_keys.list_ssh_keys(visitor.caller, desk).items,
        scopes=tuple(Scope),
        has_passkeys=site_of(request) is not None,
        better_place=better_place(request, "/account"),
        faults=faults or {},
        form=form or Form({}),
        made=made,
        idempotency_key=new_name(),
    )


def _money(desk: Desk, visitor: Visitor, month: datetime) -> dict[str, Any]:
    """Everything about money, by the API's own rules."""
    caller = visitor.caller
    since = month.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    until = (since + timedelta(days=32)).replace(day=1)
    told = desk.stores.money.invoice(renter(caller.renter_id), since, until)
    return {
        "balance": api_money.balance(caller, desk),
        "deposit": api_money.deposit(caller, desk),
        "invoices": api_money.invoices(caller, desk, MONTHS).items,
        "month": f"{since:%Y-%m}",
        "lines": sorted(told.lines, key=lambda line: line.last_at, reverse=True),
        "opening": told.opening_micro_usd,
        "closing": told.closing_micro_usd,
    }


def _keys(desk: Desk, visitor: Visitor, now: datetime) -> dict[str, Any]:
    """Those that open something, and the last ones that don't any more."""
    kept = desk.stores.renters.keys(visitor.caller.renter_id)
    return {
        "living": [key for key in kept if not ended(key, now)],
        "ended": [key for key in kept if ended(key, now)][-ENDED_SHOWN:][::-1],
        "passkeys": desk.stores.passkeys.of_renter(visitor.caller.renter_id),
        "own": visitor.caller.key.key_id,
    }


def _key_body(form: Form, now: datetime) -> ApiKeyBody:
    """The key that a form asks for; ValidationError for what does not fit."""
    until = now + timedelta(days=int(form.text("days"))) if form.text("days") else None
    return ApiKeyBody.model_validate(
        {"name": form.text("name"), "scopes": form.all("scopes"), "expires_at": until}
    )


lead_to(router, "/account#keys", "/account/keys", "/account/keys/{key_id}/revoke")
lead_to(router, "/account#ssh-keys", "/account/ssh-keys", "/account/ssh-keys/{name}/forget")
