"""API keys and SSH keys."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter

from deployments.marketplace import views
from deployments.marketplace.fields import fingerprint_of
from deployments.marketplace.guard import Caller, OfDesk, Reads, Rents, Rules
from deployments.marketplace.market import Desk
from deployments.marketplace.models import (
    ApiKey,
    ApiKeyBody,
    NewApiKey,
    Page,
    Renter,
    RotateBody,
    SshKey,
    SshKeyBody,
)
from deployments.marketplace.problems import Refused, no_such, responses
from deployments.marketplace.routes.common import KeyId, NamePath
from storage import renter as kept
from tasks.renting.api_keys import ended, new_key

router = APIRouter()


@router.get("/v1/me", summary="Who this key belongs to", responses=responses(), tags=["keys"])
def me(caller: Reads) -> Renter:
    """The renter, and what the key may do."""
    return Renter(
        renter_id=caller.renter_id,
        state=caller.renter.state,
        reason=caller.renter.reason,
        grace_until=caller.renter.grace_until,
        key_id=caller.key.key_id,
        scopes=caller.key.scopes,
    )


@router.get("/v1/api-keys", summary="List your API keys", responses=responses(), tags=["keys"])
def list_api_keys(caller: Rules, desk: OfDesk) -> Page[ApiKey]:
    """All of them, ended ones too, without their secrets."""
    return Page(items=tuple(views.api_key(key) for key in desk.stores.renters.keys(caller.renter_id)))


@router.post(
    "/v1/api-keys", status_code=201, summary="Make an API key", responses=responses(409), tags=["keys"]
)
def make_api_key(body: ApiKeyBody, caller: Rules, desk: OfDesk) -> NewApiKey:
    """Its secret is in this answer and nowhere else."""
    now = desk.market.now()
    if body.expires_at is not None and body.expires_at <= now:
        raise Refused(
            422, "IN_THE_PAST", "body.expires_at has passed already", "give a later time, or null for never"
        )
    token, key = new_key(caller.renter_id, body.name, body.scopes, now, body.expires_at)
    desk.stores.renters.add_key(key, now)
    return _shown(token, key)


@router.post(
    "/v1/api-keys/{key_id}/rotate",
    status_code=201,
    summary="Change a key's secret",
    responses=responses(404, 409),
    tags=["keys"],
)
def rotate_api_key(key_id: KeyId, caller: Rules, desk: OfDesk, body: RotateBody | None = None) -> NewApiKey:
    """A new key with the old one's name and scopes; the old one goes on for the overlap."""
    now = desk.market.now()
    old = _own(desk, caller, key_id)
    if why := ended(old, now):
        raise Refused(409, "KEY_ENDED", why, "make a new key: POST /v1/api-keys")
    token, key = new_key(caller.renter_id, old.name, old.scopes, now, old.expires_at)
    until = now + timedelta(seconds=(body or RotateBody()).overlap_s)
    if not desk.stores.renters.rotate_key(old.key_id, key, now, until):
        raise no_such("API key", key_id, "/v1/api-keys")
    return _shown(token, key)


@router.delete(
    "/v1/api-keys/{key_id}",
    status_code=204,
    summary="Revoke an API key",
    responses=responses(404),
    tags=["keys"],
)
def revoke_api_key(key_id: KeyId, caller: Rules, desk: OfDesk) -> None:
    """From this answer on it opens nothing."""
    if not desk.stores.renters.revoke_key(caller.renter_id, key_id, desk.market.now()):
        raise no_such("API key that lives", key_id, "/v1/api-keys")
    desk.known_keys.forget(key_id)


@router.get("/v1/ssh-keys", summary="List your SSH keys", responses=responses(), tags=["keys"])
def list_ssh_keys(caller: Reads, desk: OfDesk) -> Page[SshKey]:
    """By name."""
    return Page(items=tuple(views.ssh_key(key) for key in desk.stores.ssh_keys.all(caller.renter_id)))


@router.post(
    "/v1/ssh-keys", status_code=201, summary="Keep an SSH key", responses=responses(409), tags=["keys"]
)
def add_ssh_key(body: SshKeyBody, caller: Rents, desk: OfDesk) -> SshKey:
    """New leases let it in; the same again changes nothing. Leases that stand are given keys by their own route."""
    key = kept.SshKey(
        caller.renter_id,
        body.name,
        body.public_line,
        fingerprint_of(body.public_line),
        desk.market.now(),
    )
    found = desk.stores.ssh_keys.add(key)
    if found is None:
        detail = f"you have another SSH key {body.name!r}"
        raise Refused(409, "NAME_TAKEN", detail, "choose another name, or delete that one first")
    return views.ssh_key(found)


@router.delete(
    "/v1/ssh-keys/{name}",
    status_code=204,
    summary="Forget an SSH key",
    responses=responses(404),
    tags=["keys"],
)
def drop_ssh_key(name: NamePath, caller: Rents, desk: OfDesk) -> None:
    """Leases that stand let it in until it is removed from them."""
    if not desk.stores.ssh_keys.drop(caller.renter_id, name):
        raise no_such("SSH key", name, "/v1/ssh-keys")


def _own(desk: Desk, caller: Caller, key_id: str) -> kept.ApiKey:
    found = next((key for key in desk.stores.renters.keys(caller.renter_id) if key.key_id == key_id), None)
    if found is None:
        raise no_such("API key", key_id, "/v1/api-keys")
    return found


def _shown(token: str, key: kept.ApiKey) -> NewApiKey:
    return NewApiKey(token=token, **dict(views.api_key(key)))
