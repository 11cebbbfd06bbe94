"""The steps of a watch (flows/watch.py), over the market that all work on leases shares."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial

from storage.rental import Work
from storage.renters import Renters
from storage.requests import RequestsSeen
from tasks.errors import SubnetError
from tasks.renting.deposits import Desk, Price, desk_of, read_deposits
from tasks.renting.deposits import Round as Reading
from tasks.renting.limits import Step
from tasks.renting.market import Market
from tasks.renting.operators import end_stopped
from tasks.renting.reconciling import reconcile
from tasks.renting.watching import (
    CLAIM_S,
    Round,
    attend_all,
    begin,
    finish,
    notice_outbid,
    settle_open_ends,
)
from tasks.stepping import step

_log = logging.getLogger("subnet.watch")
WORK_KEPT = timedelta(days=7)
"""So long after it was asked for, work that was started is kept."""
FORGOTTEN = 500
"""Old rows of a table that one round forgets at most: nobody waits for it."""
UNUSED = timedelta(days=14)
"""So long an account that was made on the page, and that nothing was ever done with, is kept after its last use."""
REMEMBERED = timedelta(days=2)
"""So long after a lease's end its machine is still swept, whoever else rents there."""


@step("begin", deadline_s=30.0)
async def open_round(market: Market) -> Round | None:
    """A round of our own; None when another watch is at it."""
    policy = market.policy.renting
    return await market.call(partial(begin, market.edges.engine, policy, market.now, market.lookout.look_at))


@step("attend", deadline_s=float(CLAIM_S))
async def attend(market: Market, run: Round) -> dict[str, Step]:
    """Look at every machine with leases, and do what follows for each; what was done, by lease."""
    try:
        offers = await market.call(lambda: market.offering.offers(market.now()))
        await market.call(lambda: notice_outbid(run, offers, market.rentals.held()))
        done = await attend_all(run)
        market.lookout.leave_all_but(run.machines)
        await market.call(partial(end_stopped, market.edges.engine, market.now()))
        await market.call(partial(settle_open_ends, run))
    finally:
        await market.call(partial(finish, run))
    return done


@step("deposits", deadline_s=180.0)
async def credit_deposits(market: Market) -> Reading | None:
    """Read the chain on for deposits, and credit them; None when no address is set, or no node answers."""
    edges = market.edges
    if not edges.deposit_address:
        return None
    desk, network = _desk(market), edges.chain.settings.network
    try:
        return await market.call(
            lambda: read_deposits(desk, edges.chain, network, edges.deposit_address, market.now())
        )
    except SubnetError as error:
        _log.warning("deposits were not read: %s", error)
        return None


@step("tidy", deadline_s=120.0)
async def tidy(market: Market) -> tuple[Work, ...]:
    """Ask again for the work that stands still, forget what is old, and sweep machines that nobody rents any more."""
    asked = await market.call(partial(reconcile, market.edges.engine, market.now()))
    await market.call(partial(_forget, market))
    left = await market.call(partial(_left_behind, market))
    swept = (_swept(market, key, by) for key, by in left.items() if market.lookout.is_sweep_due(key))
    await asyncio.gather(*swept)
    return asked


def _forget(market: Market) -> None:
    """What is old, a bounded part of it in each round."""
    now = market.now()
    before = now - timedelta(seconds=market.policy.renting.events_s)
    market.works.forget(now - WORK_KEPT)
    market.events.forget(before, FORGOTTEN)
    RequestsSeen(market.edges.engine).forget(before, FORGOTTEN)
    Renters(market.edges.engine).forget_unused(now - UNUSED, FORGOTTEN)


def _desk(market: Market) -> Desk:
    """On the local chain, where nobody may be asked for prices, that of the price file counts at all times."""
    edges = market.edges
    desk = desk_of(edges.engine, edges.history, market.policy.renting)
    usd = edges.book.tokens.get("tao_usd")
    if not edges.is_embedded or usd is None:
        return desk
    return Desk(
        desk.deposits,
        desk.money,
        lambda seen: [*desk.prices(seen), Price(usd, seen.at - timedelta(hours=1))],
        desk.policy,
    )


def _left_behind(market: Market) -> dict[str, str]:
    """Machines that may still have something of leases that are over, and have none that is watched; each with its last one."""
    watched = {lease.executor_key for lease in market.rentals.open()}
    doomed = {volume.executor_key for volume in market.volumes.doomed()} | market.volumes.machines_with_left()
    recent = market.rentals.machines_since(market.now() - REMEMBERED)
    left = sorted((recent.keys() | doomed) - watched - {""})
    return {key: recent.get(key, "") for key in left}


async def _swept(market: Market, executor_key: str, left_by: str) -> None:
    """A machine that gives no answer is swept when it is back."""
    try:
        async with asyncio.timeout(market.policy.renting.look_deadline_s * 2):
            await market.lookout.look_at(executor_key, (), left_by)
    except (SubnetError, TimeoutError) as error:
        _log.info("%s was not swept: %s", executor_key, error)
    except Exception:  # noqa: BLE001  whatever a machine's answer breaks costs only itself
        _log.exception("%s was not swept", executor_key)
    finally:
        market.lookout.swept(executor_key)
        market.lookout.leave(executor_key)
