"""Backups: copies of volumes and folders, byte for byte."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import FileResponse

from deployments.marketplace import views
from deployments.marketplace.guard import Caller, OfDesk, Reads, Rents
from deployments.marketplace.market import Desk
from deployments.marketplace.models import Backup, Page
from deployments.marketplace.problems import Refused, no_such, responses
from deployments.marketplace.routes.common import BackupId
from storage import rental as nouns

router = APIRouter(tags=["volumes"])
_TAR = {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}


@router.get("/v1/backups", summary="List your backups", responses=responses())
def list_backups(caller: Reads, desk: OfDesk) -> Page[Backup]:
    """Newest first."""
    return Page(items=tuple(views.backup(one) for one in desk.stores.backups.of_renter(caller.renter_id)))


@router.get("/v1/backups/{backup_id}", summary="Look at a backup", responses=responses(404))
def get_backup(backup_id: BackupId, caller: Reads, desk: OfDesk) -> Backup:
    """Its size and its digest."""
    return views.backup(_own(desk, caller, backup_id))


@router.get(
    "/v1/backups/{backup_id}/content",
    summary="Fetch a backup",
    response_class=FileResponse,
    responses={**responses(404, 409), 200: {"description": "A tar archive", "content": _TAR}},
)
def fetch(backup_id: BackupId, caller: Rents, desk: OfDesk) -> FileResponse:
    """All of it; its BLAKE2b-256 is the backup's."""
    found, folder = _own(desk, caller, backup_id), desk.market.backups
    if found.state != "kept":
        raise Refused(409, "BACKUP_NOT_WHOLE", f"the backup is {found.state}", "wait, or make another")
    path = folder / f"{found.backup_id}.tar" if folder else None
    if path is None or not path.is_file():
        raise Refused(404, "BACKUP_GONE", "the backup's file is not here", "tell the operator")
    return FileResponse(path, media_type="application/x-tar", filename=path.name)


@router.delete(
    "/v1/backups/{backup_id}", status_code=204, summary="Delete a backup", responses=responses(404, 409)
)
def delete(backup_id: BackupId, caller: Rents, desk: OfDesk) -> None:
    """For good."""
    found, folder = _own(desk, caller, backup_id), desk.market.backups
    if found.state == "writing":
        raise Refused(409, "BACKUP_NOT_WHOLE", "the backup is being written", "wait for its end")
    if folder is not None:
        (folder / f"{found.backup_id}.tar").unlink(missing_ok=True)
    desk.stores.backups.forget(caller.renter_id, found.backup_id)


def _own(desk: Desk, caller: Caller, backup_id: str) -> nouns.Backup:
    found = desk.stores.backups.get(backup_id)
    if found is None or found.renter_id != caller.renter_id:
        raise no_such("backup", backup_id, "/v1/backups")
    return found
