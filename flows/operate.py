"""What a renter asks of a lease that was handed over: one operation at a time, in the order in which they were asked for.

stop | start | reboot | replace | keys | backup | restore      a failure is named with step and party, and undone
"""

from __future__ import annotations

from prefect import flow

from flows.market import open_market
from flows.teardown import tear_down
from storage.rental import COPIES, Operation
from tasks.errors import EndAsked
from tasks.renting.asking import ask_again
from tasks.renting.jobs import Job, work_on
from tasks.renting.market import Market
from tasks.renting.operating import next_of, perform


@flow(name="operate", flow_run_name="operate {operation_id}", persist_result=False)
async def operate(operation_id: str) -> None:
    """Do an operation, after those that were asked for before it, as a deployment runs it."""
    async with open_market() as market:
        await operate_lease(market, operation_id)


async def operate_lease(market: Market, operation_id: str) -> None:
    """The same, over whatever market it is given."""
    operation = await market.call(lambda: market.operations.get(operation_id))
    if operation is None:
        return
    left = None
    async with work_on(market, operation.lease_id) as job:
        if job is None:
            return
        try:
            left = await _perform_all(job, may_copy=operation.kind in COPIES)
        except EndAsked:
            await job.unwind()
            await tear_down(job)
            return
    if left is not None:
        await market.call(lambda: ask_again(market.works, left, market.now()))


async def _perform_all(job: Job, *, may_copy: bool) -> Operation | None:
    """All that is open, what is asked for meanwhile, too; what copies data is left to a run that has a slot for it."""
    while waiting := await job.market.call(lambda: job.market.operations.open(job.lease.lease_id)):
        following = next_of(waiting)
        if following.kind in COPIES and not may_copy:
            return following
        await perform(job, following)
    return None
