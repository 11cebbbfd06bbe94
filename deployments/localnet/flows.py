"""The validator's flow on the local subnet: the same epoch over the embedded chain."""

from __future__ import annotations

import os
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State

from deployments.localnet.chain.substrate import LocalSubstrate
from deployments.localnet.layout import Layout
from flows.edges import open_edges
from flows.validate import validate_or_skip
from tasks.policy import LOCALNET, Policy


@flow(name="validate", flow_run_name="epoch", persist_result=False)
async def validate(epoch: int | None = None, policy: Policy = LOCALNET) -> State[None] | None:
    """Validate the local subnet in the folder that SUBNET_FOLDER names."""
    layout = _layout()
    async with open_edges(layout.settings(os.environ), lambda: LocalSubstrate(layout.chain)) as edges:
        return await validate_or_skip(edges, epoch, policy)


def _layout() -> Layout:
    return Layout(Path(os.environ.get("SUBNET_FOLDER", ".local")).absolute())
