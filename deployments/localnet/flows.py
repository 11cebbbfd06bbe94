"""The validator's flows on the local subnet: the same epoch over the embedded chain, and the same report of its archive."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow
from prefect.client.schemas.objects import State

from deployments.localnet.chain.substrate import LocalSubstrate
from deployments.localnet.layout import Layout
from flows.edges import open_edges
from flows.validate import validate_or_skip
from tasks.policy import LOCALNET, Policy

if TYPE_CHECKING:
    from tasks.renting.market import Market


@flow(name="validate", flow_run_name="epoch", persist_result=False)
async def validate(epoch: int | None = None, policy: Policy = LOCALNET) -> State[None] | None:
    """Validate the local subnet in the folder that SUBNET_FOLDER names."""
    layout = _layout()
    async with open_edges(layout.settings(os.environ), lambda: LocalSubstrate(layout.chain)) as edges:
        return await validate_or_skip(edges, epoch, policy)


@flow(name="report", flow_run_name="report", persist_result=False)
async def report(day: date | None = None, days: int = 1) -> None:
    """Report on the local subnet's days up to `day`, without it up to today: a local system rarely has a yesterday."""
    from flows.report import make_report  # noqa: PLC0415  an epoch does without its 170 MB of libraries
    from tasks.reporting.period import Period  # noqa: PLC0415  the same

    history = _layout().settings(os.environ).history
    await make_report(history, Period(day or datetime.now(UTC).date(), days))


@flow(name="rent", flow_run_name="rent {lease_id}", persist_result=False)
async def rent(lease_id: str) -> None:
    """Bring a lease on the local subnet to its hand-over."""
    from flows.rent import rent_lease  # noqa: PLC0415  an epoch does without all of renting

    async with _market() as market:
        await rent_lease(market, lease_id)


@flow(name="teardown", flow_run_name="teardown {lease_id}", persist_result=False)
async def teardown(lease_id: str) -> None:
    """End a lease on the local subnet."""
    from flows.teardown import end_lease  # noqa: PLC0415  the same

    async with _market() as market:
        await end_lease(market, lease_id)


@flow(name="operate", flow_run_name="operate {operation_id}", persist_result=False)
async def operate(operation_id: str) -> None:
    """Do what a renter asks of a lease on the local subnet."""
    from flows.operate import operate_lease  # noqa: PLC0415  the same

    async with _market() as market:
        await operate_lease(market, operation_id)


@flow(name="watch", flow_run_name="watch", persist_result=False)
async def watch() -> None:
    """One round over the leases on the local subnet."""
    from flows.watch import watch_market  # noqa: PLC0415  the same

    async with _market() as market:
        await watch_market(market)


def _market() -> AbstractAsyncContextManager[Market]:
    from flows.market import open_market  # noqa: PLC0415  the same

    layout = _layout()
    return open_market(layout.settings(os.environ), lambda: LocalSubstrate(layout.chain))


def _layout() -> Layout:
    return Layout(Path(os.environ.get("SUBNET_FOLDER", ".local")).absolute())
