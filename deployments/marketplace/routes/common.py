"""What several routes take: names in paths, pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from deployments.marketplace import cursors
from deployments.marketplace.fields import NAME
from deployments.marketplace.guard import Caller
from deployments.marketplace.market import Desk
from deployments.marketplace.problems import no_such
from storage.rental import Rental

_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
LeaseId = Annotated[str, Path(pattern=_ID, description="As the lease's request was answered.")]
OperationId = Annotated[str, Path(pattern=_ID)]
BackupId = Annotated[str, Path(pattern=_ID)]
WebhookId = Annotated[str, Path(pattern=_ID)]
KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="The part of the key that is no secret.")]
NamePath = Annotated[str, Path(pattern=NAME)]
Limit = Annotated[int, Query(ge=1, le=1_000, description="At most so many.")]
Cursor = Annotated[
    str,
    Query(max_length=cursors.MAX_CHARACTERS, pattern=cursors.PATTERN, description="`next_cursor` of a page."),
]


def own_lease(desk: Desk, caller: Caller, lease_id: str) -> Rental:
    """A lease of the caller; another's is not there for it."""
    found = desk.stores.rentals.get(lease_id)
    if found is None or found.renter_id != caller.renter_id:
        raise no_such("lease", lease_id, "/v1/leases")
    return found
