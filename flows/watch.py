"""The market is watched, every 15 s: what runs is looked at, charged, warned, stopped and ended; deposits come in; what stands still goes on.

    machines with leases -> look -> charge -> judge -> act -> settle;  chain -> deposits -> balances;  reconcile, sweep

A machine or a chain that is away costs only itself. Whoever is killed here is followed by the next round, which does the rest.
"""

from __future__ import annotations

from prefect import flow

from flows.market import open_market
from tasks.renting.market import Market
from tasks.renting.rounds import attend, credit_deposits, open_round, tidy


@flow(name="watch", flow_run_name="watch", persist_result=False)
async def watch() -> None:
    """One round over the market that the environment names, as a deployment runs it."""
    async with open_market() as market:
        await watch_market(market)


async def watch_market(market: Market) -> bool:
    """The same, over whatever market it is given; False when another watch is at it."""
    run = await open_round(market)
    if run is None:
        return False
    await attend(market, run)
    await credit_deposits(market)
    await tidy(market)
    return True
