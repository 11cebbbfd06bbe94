"""What outlives a lease: volumes, and backups of them and of folders, made and written back by operations of a lease."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from deployments.marketplace.fields import Model
from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.models import BackupBody, RestoreBody, VolumeBody
from deployments.marketplace.pages.forms import (
    Faults,
    Form,
    Posted,
    check_token,
    faults_of,
    name_of,
    new_name,
)
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.leading import lead_to
from deployments.marketplace.pages.mending import reason_of
from deployments.marketplace.pages.visitors import Looks, Rents, Visitor
from deployments.marketplace.problems import problem_of
from deployments.marketplace.routes import backups as api_backups
from deployments.marketplace.routes import leases as api_leases
from deployments.marketplace.routes import operations as api_operations
from deployments.marketplace.routes import volumes as api_volumes
from deployments.marketplace.routes.common import BackupId, LeaseId, own_lease
from storage.errors import StorageError
from storage.rental import COPIES, RentalState
from storage.renter import Scope
from tasks.errors import UserError

router = page_router()
OPERATIONS = 100
HINTS = {
    "name": "a name of a-z, 0-9 and - is expected",
    "path": "a folder is expected as /root/checkpoints, from / on",
    "to_path": "a folder is expected as /root/old, from / on",
}
_MAKE = {"volume": "source", "path": "path"}
_RESTORE = {"backup_id": "backup", "volume": "target", "path": "to_path"}
_NOTHING = Form({})


@router.get("/leases/{lease_id}/backups")
def show_backups(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """What was copied and written back, and the forms for both."""
    chosen = Form({"backup": [request.query_params.get("backup", "")]})
    return _of_lease(lease_id, request, desk, visitor, chosen)


@router.get("/leases/{lease_id}/backups/now")
def show_backups_now(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """What of it changes by itself; nothing while nothing has."""
    return _region(request, "backups_now.html", _copies(lease_id, desk, visitor))


@router.post("/leases/{lease_id}/backups")
def make(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """A copy of a volume that it has mounted, or of a folder of its container."""
    check_token(desk, request, form, visitor.secret)
    source, path = form.text("source"), form.text("path")
    if bool(source) == bool(path):
        fault = "a volume or a folder is expected, one of them"
        return _of_lease(lease_id, request, desk, visitor, form, {"source": fault})
    named = {"volume": source} if source else {"path": path}
    asked = _asked(lease_id, request, desk, visitor, form)
    return _done(
        lambda: api_operations.backup(BackupBody.model_validate(named), asked),
        f"/leases/{lease_id}/backups",
        lambda faults: _of_lease(lease_id, request, desk, visitor, form, faults),
        _MAKE,
        "source",
    )


@router.post("/leases/{lease_id}/restore")
def restore(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """A copy written back to where it came from, or elsewhere."""
    check_token(desk, request, form, visitor.secret)
    target, path = form.text("target"), form.text("to_path")
    faults: Faults = {}
    if form.text("sure") != "yes":
        faults["sure"] = "what is there under the same names is overwritten: say that you are sure"
    if target and path:
        faults["target"] = "a volume or a folder is expected, one of them at most"
    if faults:
        return _of_lease(lease_id, request, desk, visitor, form, faults)
    named = {"backup_id": form.text("backup"), "volume": target or None, "path": path or None}
    asked = _asked(lease_id, request, desk, visitor, form)
    return _done(
        lambda: api_operations.restore(RestoreBody.model_validate(named), asked),
        f"/leases/{lease_id}/backups",
        lambda faults: _of_lease(lease_id, request, desk, visitor, form, faults),
        _RESTORE,
        "backup",
    )


@router.get("/volumes")
def show_kept(request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """All volumes and all backups."""
    chosen = Form({name: [request.query_params.get(name, "")] for name in ("wipe", "forget")})
    return _kept(request, desk, visitor, chosen)


@router.get("/volumes/now")
def show_kept_now(request: Request, desk: OfDesk, visitor: Looks) -> Response:
    """What of it changes by itself; nothing while nothing has."""
    return _region(request, "volumes_now.html", _all_kept(desk, visitor))


@router.post("/volumes")
def keep(request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """A volume's name; the first lease that mounts it makes it on its machine."""
    check_token(desk, request, form, visitor.secret)
    return _done(
        lambda: api_volumes.make_volume(
            VolumeBody.model_validate({"name": form.text("name")}), visitor.caller, desk
        ),
        "/volumes",
        lambda faults: _kept(request, desk, visitor, form, faults),
        {"name": "name"},
        "name",
    )


@router.post("/volumes/wipe")
def wipe(request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """For good, by whoever is sure."""
    check_token(desk, request, form, visitor.secret)
    return _for_good(
        request, desk, visitor, form, "wipe", lambda name: api_volumes.wipe_volume(name, visitor.caller, desk)
    )


@router.post("/backups/forget")
def forget(request: Request, desk: OfDesk, visitor: Rents, form: Posted) -> Response:
    """For good, by whoever is sure."""
    check_token(desk, request, form, visitor.secret)
    return _for_good(
        request, desk, visitor, form, "forget", lambda name: api_backups.delete(name, visitor.caller, desk)
    )


@router.get("/backups/{backup_id}/content")
def fetch(backup_id: BackupId, desk: OfDesk, visitor: Rents) -> Response:
    """As the API answers it: a tar file to keep."""
    return api_backups.fetch(backup_id, visitor.caller, desk)


def _for_good(
    request: Request, desk: Desk, visitor: Visitor, form: Form, field: str, act: Callable[[str], object]
) -> Response:
    if form.text(f"{field}_sure") != "yes":
        fault = {f"{field}_sure": "its data are lost: say that you are sure"}
        return _kept(request, desk, visitor, form, fault)
    return _done(
        lambda: act(form.text(field)),
        "/volumes",
        lambda faults: _kept(request, desk, visitor, form, faults),
        {},
        field,
    )


def _done(
    act: Callable[[], object],
    back: str,
    refuse: Callable[[Faults], Response],
    places: dict[str, str],
    otherwise: str,
) -> Response:
    """Back to the page; or the page with why not, at the field or at the one that it is about."""
    try:
        act()
    except ValidationError as error:
        return refuse(faults_of(error, places, otherwise, HINTS))
    except (UserError, StorageError) as error:
        refused = problem_of(error)
        return refuse({otherwise: reason_of(refused)})
    return RedirectResponse(back, 303)


def _asked(lease_id: str, request: Request, desk: Desk, visitor: Visitor, form: Form) -> api_operations.Asked:
    key = f"page-{name_of(form)}"
    lease = own_lease(desk, visitor.caller, lease_id)
    return api_operations.Asked(request, Response(), desk, visitor.caller, lease, key)


def _of_lease(
    lease_id: str, request: Request, desk: Desk, visitor: Visitor, form: Form, faults: Faults | None = None
) -> Response:
    lease, values = api_leases.get(lease_id, visitor.caller, desk), _copies(lease_id, desk, visitor)
    return page(
        request,
        "backups.html",
        status=422 if faults else 200,
        etag=_etag(values),
        form=form,
        faults=faults or {},
        lease=lease,
        can_copy=lease.state in (RentalState.ACTIVE, RentalState.STOPPED),
        idempotency_key=new_name(),
        **values,
    )


def _kept(
    request: Request, desk: Desk, visitor: Visitor, form: Form, faults: Faults | None = None
) -> Response:
    values = _all_kept(desk, visitor)
    status = 422 if faults else 200
    return page(
        request, "volumes.html", status=status, etag=_etag(values), form=form, faults=faults or {}, **values
    )


def _copies(lease_id: str, desk: Desk, visitor: Visitor) -> dict[str, Any]:
    """What changes by itself on the page of a lease's copies."""
    found = api_operations.list_operations(lease_id, visitor.caller, desk, OPERATIONS).items
    return {
        "lease_id": lease_id,
        "copies": [one for one in found if one.kind in COPIES],
        "backups": api_backups.list_backups(visitor.caller, desk).items,
        "may_rent": visitor.may(Scope.RENT),
    }


def _all_kept(desk: Desk, visitor: Visitor) -> dict[str, Any]:
    return {
        "volumes": api_volumes.list_volumes(visitor.caller, desk).items,
        "backups": api_backups.list_backups(visitor.caller, desk).items,
        "may_rent": visitor.may(Scope.RENT),
    }


def _region(request: Request, template: str, values: dict[str, Any]) -> Response:
    etag = _etag(values)
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"ETag": etag})
    return page(request, template, headers={"ETag": etag}, **values)


def _etag(values: dict[str, Any]) -> str:
    """Of everything that the region shows."""
    told = "\n".join(one.model_dump_json() for found in values.values() for one in _models(found))
    return f'"{blake2b(told.encode(), digest_size=12).hexdigest()}"'


def _models(found: object) -> Iterable[Model]:
    return (one for one in found if isinstance(one, Model)) if isinstance(found, list | tuple) else ()


lead_to(router, "/leases/{lease_id}/backups", "/leases/{lease_id}/restore")
lead_to(router, "/volumes", "/volumes/wipe", "/backups/forget")
