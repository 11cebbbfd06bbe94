"""What is asked of a lease that stands: stop, start, reboot, replace, keys, backup, restore."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from deployments.marketplace import views
from deployments.marketplace.fields import fingerprint_of
from deployments.marketplace.guard import Caller, OfDesk, Reads, Rents
from deployments.marketplace.idempotency import IdempotencyKey, check_same
from deployments.marketplace.market import Desk
from deployments.marketplace.models import (
    BackupBody,
    KeysBody,
    Operation,
    Page,
    PodBody,
    ReplaceBody,
    RestoreBody,
)
from deployments.marketplace.pods import make_pod, ports_beside, public_keys
from deployments.marketplace.problems import Refused, no_such, responses
from deployments.marketplace.routes.common import LeaseId, Limit, OperationId, own_lease
from storage import rental as nouns
from storage.rental import OperationKind, OperationState, Rental, RentalState
from tasks.errors import MoveRefused
from tasks.renting.asking import ask_operation, new_name

router = APIRouter(tags=["operations"])
_FROM: Mapping[OperationKind, frozenset[RentalState]] = {
    OperationKind.STOP: frozenset({RentalState.ACTIVE}),
    OperationKind.START: frozenset({RentalState.STOPPED}),
    OperationKind.REBOOT: frozenset({RentalState.ACTIVE}),
    OperationKind.REPLACE: frozenset({RentalState.ACTIVE}),
    OperationKind.KEYS: frozenset({RentalState.ACTIVE, RentalState.STOPPED}),
    OperationKind.BACKUP: frozenset({RentalState.ACTIVE, RentalState.STOPPED}),
    OperationKind.RESTORE: frozenset({RentalState.ACTIVE, RentalState.STOPPED}),
}
"""States in which asking makes sense, unless another operation that is still to come leads there."""
_BEGINS = frozenset({OperationKind.START, OperationKind.REPLACE, OperationKind.RESTORE, OperationKind.REBOOT})
_REFUSED = responses(402, 404, 409)
MAX_OPEN = 20
MAX_BACKUPS = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks something of which lease."""

    request: Request
    response: Response
    desk: Desk
    caller: Caller
    lease: Rental
    key: str


def asked_of_lease(
    request: Request, response: Response, lease_id: LeaseId, key: IdempotencyKey, caller: Rents, desk: OfDesk
) -> Asked:
    """What every operation takes."""
    return Asked(request, response, desk, caller, own_lease(desk, caller, lease_id), key)


OfLease = Annotated[Asked, Depends(asked_of_lease)]


@router.post("/v1/leases/{lease_id}/stop", status_code=202, summary="Stop a lease", responses=_REFUSED)
def stop(asked: OfLease) -> Operation:
    """Its data stay; it is not paid while it is stopped, and its cards are free for others."""
    return _ask(asked, OperationKind.STOP)


@router.post("/v1/leases/{lease_id}/start", status_code=202, summary="Start it again", responses=_REFUSED)
def start(asked: OfLease) -> Operation:
    """On the same cards; refused when another lease has one of them by then."""
    return _ask(asked, OperationKind.START)


@router.post(
    "/v1/leases/{lease_id}/reboot", status_code=202, summary="Restart the container", responses=_REFUSED
)
def reboot(asked: OfLease) -> Operation:
    """What is in the container stays."""
    return _ask(asked, OperationKind.REBOOT)


@router.post(
    "/v1/leases/{lease_id}/replace", status_code=202, summary="Run another image", responses=_REFUSED
)
def replace(body: ReplaceBody, asked: OfLease) -> Operation:
    """Volumes, ports and cards stay, a template's ports come beside them; what was written outside of volumes is gone."""
    desk, caller, lease = asked.desk, asked.caller, asked.lease
    given = body.model_dump(exclude_unset=True, exclude={"registry"})
    if not any(value is not None for value in given.values()):
        raise Refused(
            422, "NOTHING_GIVEN", "nothing is to be replaced", "name an image, a template or a command"
        )
    wanted = PodBody(image=None if body.template else lease.pod.image, ssh_keys=()).model_copy(
        update={
            name: getattr(body, name) for name in body.model_fields_set if getattr(body, name) is not None
        }
    )
    pod, kept = make_pod(desk, caller.renter_id, wanted)
    arguments: dict[str, object] = {"image": pod.image}
    if body.template is not None:
        ports = ports_beside(desk, caller.renter_id, lease.pod, pod)
        arguments |= {"template": body.template, "entrypoint": pod.entrypoint, "words": pod.words}
        arguments |= {"ports": [(port.inside, port.protocol) for port in ports]}
    arguments |= {"entrypoint": body.entrypoint} if body.entrypoint is not None else {}
    arguments |= {"words": body.words} if body.words is not None else {}
    arguments |= {"environment": pod.environment} if kept.environment else {}
    return _ask(asked, OperationKind.REPLACE, body, arguments, kept.values)


@router.post(
    "/v1/leases/{lease_id}/keys", status_code=202, summary="Change who may log in", responses=_REFUSED
)
def keys(body: KeysBody, asked: OfLease) -> Operation:
    """Keys are added and removed while it runs; a session that is open goes on."""
    desk, caller, lease = asked.desk, asked.caller, asked.lease
    add = public_keys(desk, caller.renter_id, body.add_named, body.add)
    gone = set(body.remove)
    remove = [line for line in lease.pod.public_keys if fingerprint_of(line) in gone]
    if missing := gone - {fingerprint_of(line) for line in lease.pod.public_keys}:
        detail = f"no key of this lease has the fingerprint {min(missing)}"
        raise Refused(422, "NO_SUCH_SSH_KEY", detail, "look at pod.public_keys of the lease")
    if not add and not remove:
        raise Refused(422, "NOTHING_GIVEN", "no key is to be added or removed", "give some")
    return _ask(asked, OperationKind.KEYS, body, {"add": add, "remove": remove})


@router.post("/v1/leases/{lease_id}/backups", status_code=202, summary="Make a backup", responses=_REFUSED)
def backup(body: BackupBody, asked: OfLease) -> Operation:
    """Of one volume or folder, byte for byte; the operation's result names the backup."""
    _check_room(asked)
    source = _place(asked.lease, body.volume, body.path)
    if source is None:
        raise Refused(422, "NOTHING_GIVEN", "neither body.volume nor body.path is given", "give one of them")
    return _ask(asked, OperationKind.BACKUP, body, {"source": source})


@router.post(
    "/v1/leases/{lease_id}/restore", status_code=202, summary="Write a backup back", responses=_REFUSED
)
def restore(body: RestoreBody, asked: OfLease) -> Operation:
    """To where it came from, or elsewhere, of this lease or another."""
    desk, caller, lease = asked.desk, asked.caller, asked.lease
    found = desk.stores.backups.get(body.backup_id)
    if found is None or found.renter_id != caller.renter_id:
        raise no_such("backup", body.backup_id, "/v1/backups")
    if found.state != "kept":
        raise Refused(409, "BACKUP_NOT_WHOLE", f"the backup is {found.state}", "choose one that is kept")
    target = _place(lease, body.volume, body.path) or found.source
    arguments = {"backup_id": body.backup_id, "target": target}
    return _ask(asked, OperationKind.RESTORE, body, arguments)


@router.get("/v1/leases/{lease_id}/operations", summary="List a lease's operations", responses=responses(404))
def list_operations(lease_id: LeaseId, caller: Reads, desk: OfDesk, limit: Limit = 100) -> Page[Operation]:
    """Newest first, at most a thousand."""
    own_lease(desk, caller, lease_id)
    found = desk.stores.operations.of_lease(lease_id, newest=limit)
    queued = desk.stores.works.waiting([one.operation_id for one in found])
    return Page(items=tuple(views.operation(one, is_queued=one.operation_id in queued) for one in found))


@router.get(
    "/v1/leases/{lease_id}/operations/{operation_id}",
    summary="Look at an operation",
    responses=responses(404),
)
def get_operation(lease_id: LeaseId, operation_id: OperationId, caller: Reads, desk: OfDesk) -> Operation:
    """How far it is, and what came of it."""
    own_lease(desk, caller, lease_id)
    found = desk.stores.operations.get(operation_id)
    if found is None or found.lease_id != lease_id:
        raise no_such("operation", operation_id, f"/v1/leases/{lease_id}/operations")
    return views.operation(found, is_queued=bool(desk.stores.works.waiting([operation_id])))


def _ask(
    asked: Asked,
    kind: OperationKind,
    body: ReplaceBody | KeysBody | BackupBody | RestoreBody | None = None,
    arguments: Mapping[str, object] | None = None,
    secrets: Mapping[str, object] | None = None,
) -> Operation:
    """Keep the operation and its work; of a key that was used before, that operation."""
    desk, lease, now = asked.desk, asked.lease, asked.desk.market.now()
    check_same(desk, asked.request, asked.caller, asked.key, body)
    past = desk.stores.operations.of_lease(lease.lease_id)
    found = next((one for one in past if one.idempotency_key == asked.key), None)
    if found is None:
        if kind in _BEGINS:
            asked.caller.check_not_stopped()
        _check_state(lease, kind, past)
        name = new_name("op")
        made = nouns.Operation(
            operation_id=name,
            lease_id=lease.lease_id,
            idempotency_key=asked.key,
            kind=kind,
            state=OperationState.ASKED,
            asked_at=now,
            arguments=json.dumps(arguments or {}),
            sealed=desk.market.sealer.seal(name, secrets or {}),
        )
        found, _ = ask_operation(desk.stores.operations, lease, made)
        desk.market.starter.poke()
    asked.response.headers["Location"] = f"/v1/leases/{lease.lease_id}/operations/{found.operation_id}"
    is_queued = bool(desk.stores.works.waiting([found.operation_id]))
    return views.operation(found, is_queued=is_queued)


def _check_state(lease: Rental, kind: OperationKind, past: tuple[nouns.Operation, ...]) -> None:
    """MoveRefused when it can't come to it: what still waits may change the state before its turn."""
    waiting = [one for one in past if one.state in (OperationState.ASKED, OperationState.RUNNING)]
    if len(waiting) >= MAX_OPEN:
        raise Refused(409, "TOO_MANY", f"{MAX_OPEN} operations of this lease wait", "wait for them")
    may_change = any(one.kind in (OperationKind.STOP, OperationKind.START) for one in waiting)
    is_over = lease.end_asked_at is not None
    if is_over or (lease.state not in _FROM[kind] and not may_change):
        raise MoveRefused(lease.lease_id, "being ended" if is_over else lease.state.value, _DONE[kind])


_DONE = {
    OperationKind.STOP: "stopped",
    OperationKind.START: "started",
    OperationKind.REBOOT: "restarted",
    OperationKind.REPLACE: "given another image",
    OperationKind.KEYS: "given other keys",
    OperationKind.BACKUP: "copied",
    OperationKind.RESTORE: "written to",
}


def _check_room(asked: Asked) -> None:
    """Refused when the renter's backups are as many, or as large together, as they may be."""
    kept = asked.desk.stores.backups.of_renter(asked.caller.renter_id)
    most_bytes = asked.desk.market.policy.renting.backup_most_bytes
    if len(kept) >= MAX_BACKUPS or sum(one.size_bytes for one in kept) >= most_bytes:
        detail = f"you have {len(kept)} backups; {MAX_BACKUPS}, of {most_bytes} bytes in all, are the most"
        raise Refused(409, "TOO_MANY", detail, "delete some: DELETE /v1/backups/{backup_id}")


def _place(lease: Rental, volume: str | None, path: str | None) -> str | None:
    """A volume that the lease has mounted, or a folder of its container; None when neither is named."""
    if volume is not None and path is not None:
        raise Refused(422, "ONE_OF_TWO", "body.volume and body.path are both given", "give one of them")
    if volume is not None:
        if all(mount.volume != volume for mount in lease.pod.mounts):
            detail = f"the lease has no volume {volume!r} mounted"
            raise Refused(422, "NO_SUCH_VOLUME", detail, "look at pod.mounts of the lease")
        return f"volume:{volume}"
    return None if path is None else f"path:{path}"
