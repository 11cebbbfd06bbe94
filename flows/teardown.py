"""A lease ends: nothing of it is left on its machine, its account is closed, and its cards are anybody's again.

    settle -> stop -> wipe -> prove again -> settle -> list again

Every step may be done again; a machine that is away is tried again until it is given up.
"""

from __future__ import annotations

from prefect import flow

from flows.market import open_market
from tasks.errors import StepFailed
from tasks.renting.ending import begin_end, clear, free, prove_return, wait_or_give_up, wipe
from tasks.renting.jobs import Job, work_on
from tasks.renting.market import Market
from tasks.renting.moves import CLOSED


@flow(name="teardown", flow_run_name="teardown {lease_id}", persist_result=False)
async def teardown(lease_id: str) -> None:
    """End a lease whose end was asked for, as a deployment runs it."""
    async with open_market() as market:
        await end_lease(market, lease_id)


async def end_lease(market: Market, lease_id: str) -> None:
    """The same, over whatever market it is given."""
    async with work_on(market, lease_id, may_end=True) as job:
        if job is not None and job.lease.end_asked_at is not None:
            await tear_down(job)


async def tear_down(job: Job) -> None:
    """End the lease that this job is about."""
    job.may_end = True
    await begin_end(job)
    if job.lease.state in CLOSED:
        return
    try:
        await clear(job)
        await wipe(job)
        await prove_return(job)
    except StepFailed as failure:
        await wait_or_give_up(job, failure)
    else:
        await free(job)
