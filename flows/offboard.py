"""A machine leaves the subnet: validators find it no more, and it is as it was before `flows/onboard.py`.

    paused -> no renter on it -> out of the agent's file -> undone on the machine; with the last machine the agent ends

A machine that is rented stays, unless that is forced. Keys, the place on the chain and the authority are kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from prefect import flow

from flows.miner import Starting, open_onboarding
from flows.settings import Settings, read_settings
from tasks.onboarding.explaining import explain
from tasks.onboarding.leaving import leave, plan_leave
from tasks.onboarding.work import Onboarding, Outcome, first_failure


@flow(name="offboard", flow_run_name="offboard", persist_result=False)
async def offboard(hosts: list[str], how: Starting, is_forced: bool = False) -> None:  # noqa: FBT001, FBT002  a tick in the UI
    """Take machines out, as a deployment runs it."""
    await offboard_by(hosts, how, read_settings(os.environ), is_forced=is_forced)


async def offboard_by(
    hosts: list[str],
    how: Starting,
    settings: Settings,
    substrate: Callable[[], object] | None = None,
    *,
    is_forced: bool = False,
) -> None:
    """The same by other settings; the first failure is raised once everything else is done."""
    async with open_onboarding(hosts, how, settings, substrate) as work:
        await offboard_machines(work, is_forced=is_forced)
        await explain(work)
    if (failure := first_failure(work)) is not None:
        raise failure


async def offboard_machines(
    work: Onboarding, *, is_forced: bool = False, is_dry: bool = False
) -> tuple[Outcome, ...]:
    """The same, over whatever it is given; `is_dry`: nothing but the plan."""
    await plan_leave(work)
    if not is_dry and work.human.agrees(work.plan, "Take them out, and undo all that was done there?"):
        await leave(work, is_forced=is_forced)
    return work.outcomes
