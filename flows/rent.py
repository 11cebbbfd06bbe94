"""A request becomes a lease that its renter can log in to, or is refused with the reason of every machine that was tried.

    reserve -> enter -> prove -> pull -> create -> probe -> hand over      on failure: undo in reverse, next machine
                     (and make the container, where its image is there)

The lease's name is the only parameter; everything else is in our own state, moved by compare-and-set. Killed at any line,
the next run takes the lease over: it removes what is there of it, and begins again on the same machine.
"""

from __future__ import annotations

import asyncio

from prefect import flow

from flows.market import open_market
from flows.teardown import tear_down
from storage.rental import Access, RentalState
from tasks.errors import EndAsked, StepFailed
from tasks.renting.blame import party_of_overrun
from tasks.renting.jobs import Job, work_on
from tasks.renting.market import Market
from tasks.renting.provisioning import create, enter, hand_over, let_go_of, probe, prove, pull, take_over
from tasks.renting.reserving import reserve

ON_ITS_WAY = frozenset({RentalState.REQUESTED, RentalState.RESERVED, RentalState.PROVISIONING})


@flow(name="rent", flow_run_name="rent {lease_id}", persist_result=False)
async def rent(lease_id: str) -> None:
    """Bring a lease to its hand-over, as a deployment runs it."""
    async with open_market() as market:
        await rent_lease(market, lease_id)


async def rent_lease(market: Market, lease_id: str) -> None:
    """The same, over whatever market it is given."""
    async with work_on(market, lease_id) as job:
        if job is None or job.lease.state not in ON_ITS_WAY:
            return
        try:
            await take_over(job)
            while job.lease.state in ON_ITS_WAY and await reserve(job):
                await _provision(job)
        except EndAsked:
            await job.unwind()
            await tear_down(job)


async def _provision(job: Job) -> None:
    """One machine: handed over, or undone and let go."""
    limit_s = job.market.policy.renting.machine_s
    try:
        async with asyncio.timeout(limit_s):
            access = await _bring_up(job)
        await hand_over(job, access)  # nothing breaks it off half-way: it is kept whole, or undone
    except TimeoutError:
        why = f"nothing was up within {limit_s:g} s"
        party = party_of_overrun(job.doing, is_at_machine=job.is_at_machine)
        await job.tell(job.doing, "failed", None, why, party)
        await let_go_of(job, StepFailed(job.doing, party, why))
    except StepFailed as failure:
        await let_go_of(job, failure)


async def _bring_up(job: Job) -> Access:
    await enter(job)
    await prove(job)
    image = await pull(job)
    access = await create(job, image)
    await probe(job, access)
    return access
