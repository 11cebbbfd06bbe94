"""Whether the marketplace can do its work."""

from __future__ import annotations

from fastapi import APIRouter

from deployments.marketplace.guard import OfDesk
from deployments.marketplace.models import Health
from deployments.marketplace.problems import responses

router = APIRouter(tags=["health"])
MANY = 100
_WAITING = {
    "away": "the orchestrator does not answer: requests wait",
    "failing": "requests wait, because of a fault of ours: the log says why",
}


@router.get("/v1/health", summary="Can it do its work", responses=responses())
def health(desk: OfDesk) -> Health:
    """Without a key. `degraded`: requests are kept, and begin later."""
    snapshot = desk.catalogue.snapshot()
    queued = len(desk.stores.works.unstarted(MANY))
    orchestrator = desk.market.starter.orchestrator
    faults = [
        *([_WAITING[orchestrator]] if orchestrator in _WAITING else []),
        *(["no epoch has proved a machine yet"] if not snapshot.offers else []),
    ]
    return Health(
        status="degraded" if faults else "ok",
        epoch=snapshot.epoch or None,
        offers=len(snapshot.offers),
        queued=queued,
        orchestrator=orchestrator,
        detail="; ".join(faults),
    )
