"""Webhooks: addresses that are told what happens to leases."""

from __future__ import annotations

import secrets
from dataclasses import replace

from fastapi import APIRouter

from deployments.marketplace import cursors, views
from deployments.marketplace.delivering import SIGNING_PREFIX, check_address, subject_of
from deployments.marketplace.guard import Caller, OfDesk, Reads, Rules
from deployments.marketplace.market import Desk
from deployments.marketplace.models import Delivery, NewWebhook, Page, Webhook, WebhookBody, WebhookChange
from deployments.marketplace.problems import no_such, responses
from deployments.marketplace.routes.common import Cursor, Limit, WebhookId
from storage import renter as kept

router = APIRouter(tags=["webhooks"])


@router.get("/v1/webhooks", summary="List your webhooks", responses=responses())
def list_webhooks(caller: Reads, desk: OfDesk) -> Page[Webhook]:
    """Oldest first."""
    return Page(items=tuple(views.webhook(one) for one in desk.stores.webhooks.of_renter(caller.renter_id)))


@router.post("/v1/webhooks", status_code=201, summary="Have an address told", responses=responses(409))
def add_webhook(body: WebhookBody, caller: Rules, desk: OfDesk) -> NewWebhook:
    """Of what happens from now on. The secret that signs its deliveries is in this answer and nowhere else."""
    url = check_address(str(body.url), is_local=desk.market.is_local)
    webhook_id, secret = f"wh-{secrets.token_hex(8)}", _new_secret()
    made = kept.Webhook(
        webhook_id=webhook_id,
        renter_id=caller.renter_id,
        url=url,
        kinds=tuple(sorted(set(body.kinds))),
        sealed=desk.market.sealer.seal(subject_of(webhook_id), {"secret": secret}),
        created_at=desk.market.now(),
        after_sequence=desk.stores.events.last(),
    )
    desk.stores.webhooks.add(made)
    return _shown(made, secret)


@router.get("/v1/webhooks/{webhook_id}", summary="Look at a webhook", responses=responses(404))
def get_webhook(webhook_id: WebhookId, caller: Reads, desk: OfDesk) -> Webhook:
    """Since when it fails, and whether it was disabled for it."""
    return views.webhook(_own(desk, caller, webhook_id))


@router.patch("/v1/webhooks/{webhook_id}", summary="Change a webhook", responses=responses(404))
def change_webhook(webhook_id: WebhookId, body: WebhookChange, caller: Rules, desk: OfDesk) -> Webhook:
    """Its address, the kinds of events, or whether it is told; enabled again, it is told what happens from then on."""
    old = _own(desk, caller, webhook_id)
    new = old
    if body.url is not None:
        new = replace(new, url=check_address(str(body.url), is_local=desk.market.is_local))
    if body.kinds is not None:
        new = replace(new, kinds=tuple(sorted(set(body.kinds))))
    after = None
    if body.is_enabled is True and old.disabled_at is not None:
        new, after = replace(new, disabled_at=None, failing_since=None), desk.stores.events.last()
    if body.is_enabled is False and old.disabled_at is None:
        new = replace(new, disabled_at=desk.market.now())
    if not desk.stores.webhooks.change(new, after_sequence=after):
        raise no_such("webhook", webhook_id, "/v1/webhooks")
    return views.webhook(new)


@router.post(
    "/v1/webhooks/{webhook_id}/rotate",
    status_code=201,
    summary="Change a webhook's secret",
    responses=responses(404),
)
def rotate_webhook(webhook_id: WebhookId, caller: Rules, desk: OfDesk) -> NewWebhook:
    """From the next delivery on it is signed with the new one."""
    old, secret = _own(desk, caller, webhook_id), _new_secret()
    new = replace(old, sealed=desk.market.sealer.seal(subject_of(webhook_id), {"secret": secret}))
    if not desk.stores.webhooks.change(new):
        raise no_such("webhook", webhook_id, "/v1/webhooks")
    return _shown(new, secret)


@router.delete(
    "/v1/webhooks/{webhook_id}", status_code=204, summary="Forget a webhook", responses=responses(404)
)
def drop_webhook(webhook_id: WebhookId, caller: Rules, desk: OfDesk) -> None:
    """What is on its way to it is not sent any more."""
    if not desk.stores.webhooks.drop(caller.renter_id, webhook_id):
        raise no_such("webhook", webhook_id, "/v1/webhooks")


@router.get(
    "/v1/webhooks/{webhook_id}/deliveries", summary="What a webhook was told", responses=responses(404)
)
def list_deliveries(
    webhook_id: WebhookId, caller: Reads, desk: OfDesk, limit: Limit = 100, cursor: Cursor = ""
) -> Page[Delivery]:
    """Newest first, with what came of the last attempt; those that ended are kept for a month."""
    _own(desk, caller, webhook_id)
    before = str(cursors.decode(cursor, str)[0]) if cursor else ""
    found = desk.stores.webhooks.deliveries(webhook_id, limit + 1, before)
    page = found[:limit]
    return Page(
        items=tuple(views.delivery(one) for one in page),
        next_cursor=cursors.encode(page[-1].delivery_id) if len(found) > limit else None,
    )


def _own(desk: Desk, caller: Caller, webhook_id: str) -> kept.Webhook:
    found = desk.stores.webhooks.get(caller.renter_id, webhook_id)
    if found is None:
        raise no_such("webhook", webhook_id, "/v1/webhooks")
    return found


def _new_secret() -> str:
    return SIGNING_PREFIX + secrets.token_urlsafe(32)


def _shown(one: kept.Webhook, secret: str) -> NewWebhook:
    return NewWebhook(secret=secret, **dict(views.webhook(one)))
