"""Volumes and backups."""

from __future__ import annotations

from fastapi import APIRouter

from deployments.marketplace import views
from deployments.marketplace.guard import OfDesk, Reads, Rents
from deployments.marketplace.models import Page, Volume, VolumeBody
from deployments.marketplace.problems import Refused, no_such, responses
from deployments.marketplace.routes.common import NamePath
from storage import rental as nouns

MAX_VOLUMES = 100
router = APIRouter(tags=["volumes"])


@router.get("/v1/volumes", summary="List your volumes", responses=responses())
def list_volumes(caller: Reads, desk: OfDesk) -> Page[Volume]:
    """By name."""
    return Page(items=tuple(views.volume(one) for one in desk.stores.volumes.of_renter(caller.renter_id)))


@router.get("/v1/volumes/{name}", summary="Look at a volume", responses=responses(404))
def get_volume(name: NamePath, caller: Reads, desk: OfDesk) -> Volume:
    """Where it is, and which lease has it."""
    found = desk.stores.volumes.get(caller.renter_id, name)
    if found is None:
        raise no_such("volume", name, "/v1/volumes")
    return views.volume(found)


@router.post("/v1/volumes", status_code=201, summary="Keep a volume", responses=responses(409))
def make_volume(body: VolumeBody, caller: Rents, desk: OfDesk) -> Volume:
    """It is on no machine until a lease mounts it; the same again changes nothing."""
    caller.check_not_stopped()
    existing = desk.stores.volumes.of_renter(caller.renter_id)
    if len(existing) >= MAX_VOLUMES and all(one.name != body.name for one in existing):
        raise Refused(409, "TOO_MANY", f"you have {MAX_VOLUMES} volumes", "delete one that you don't need")
    found, _ = desk.stores.volumes.make(nouns.Volume(caller.renter_id, body.name, "", desk.market.now()))
    return views.volume(found)


@router.delete("/v1/volumes/{name}", status_code=202, summary="Wipe a volume", responses=responses(404, 409))
def wipe_volume(name: NamePath, caller: Rents, desk: OfDesk) -> Volume:
    """Its data are lost; its name is free when its machine has wiped it. One that a lease has mounted stays."""
    volumes = desk.stores.volumes
    if volumes.get(caller.renter_id, name) is None:
        raise no_such("volume", name, "/v1/volumes")
    doomed = volumes.doom(caller.renter_id, name)
    found = volumes.get(caller.renter_id, name)
    if found is None:
        raise no_such("volume", name, "/v1/volumes")
    if not doomed:
        detail = f"lease {found.lease_id} has the volume {name!r}"
        raise Refused(409, "VOLUME_BUSY", detail, "end that lease first")
    return views.volume(found)
