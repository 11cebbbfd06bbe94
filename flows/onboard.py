"""From a bare machine to its first verdict: everything that a miner has to do, once, for any number of machines.

    look at all -> plan -> agreed? -> keys, authority -> install -> prove -> a place -> offer -> serve -> first verdict

Every step may be done again and changes nothing then; killed at any line, the next run goes on where this one was. A
machine that fails costs only itself, and says which step, why, and the command that mends it. `flows/offboard.py` undoes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from prefect import flow

from flows.miner import Starting, open_onboarding
from flows.settings import Settings, read_settings
from tasks.onboarding.explaining import explain
from tasks.onboarding.hearing import hear
from tasks.onboarding.installing import install, prove
from tasks.onboarding.opening import offer, serve, take_place
from tasks.onboarding.preparing import agree, make_plan, prepare
from tasks.onboarding.work import Onboarding, Outcome, first_failure


@flow(name="onboard", flow_run_name="onboard", persist_result=False)
async def onboard(hosts: list[str], how: Starting) -> None:
    """Bring machines in, as a deployment runs it: what was not said beforehand is not agreed to, and nobody is asked."""
    await onboard_by(hosts, how, read_settings(os.environ))


async def onboard_by(
    hosts: list[str], how: Starting, settings: Settings, substrate: Callable[[], object] | None = None
) -> None:
    """The same by other settings; the first failure is raised once everything else is done."""
    async with open_onboarding(hosts, how, settings, substrate) as work:
        await onboard_machines(work)
        await explain(work)
    if (failure := first_failure(work)) is not None:
        raise failure


async def onboard_machines(work: Onboarding, *, is_dry: bool = False) -> tuple[Outcome, ...]:
    """The same, over whatever it is given; `is_dry`: nothing but the plan."""
    await make_plan(work)
    if is_dry or not await agree(work):
        return work.outcomes
    await prepare(work)
    await install(work)
    await prove(work)
    if work.going:
        await take_place(work)
        await offer(work)
        await serve(work)
        await hear(work)
    return work.outcomes
