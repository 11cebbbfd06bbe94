"""Flows whose events the automations wait for: `python -m tests.deployments.automation_flows`, beside a Prefect server."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prefect import flow
from prefect.events import emit_event

from storage.records import PassRate, Reason, Severity
from tasks.alarming import EPOCH_BEGAN, News, news_of
from tasks.announcing import epoch_resource, send
from tests.tasks.scoring.epochs import world

NETUID = 51


def trouble(code):
    return Reason(code, Severity.NO_VERDICT, "", "", "")


@flow(name="validate", persist_result=False)
async def validate():
    """An epoch in which everything goes wrong: it began long ago, another has ended in trouble, and the run fails."""
    # Prefect throws away what has waited for longer than a minute beyond its time.
    long_ago = datetime.now(UTC) - timedelta(seconds=15)
    resource = {"prefect.resource.id": epoch_resource(NETUID, 6), "prefect.resource.name": "epoch 6"}
    emit_event(EPOCH_BEGAN, resource, occurred=long_ago)
    bad = replace(world().epoch(7), verdicts=(), incidents=(trouble("CHAIN_AWAY"), trouble("WEIGHTS_DIFFER")))
    send(News(EPOCH_BEGAN, "epoch 7 began"), NETUID, 7)
    for news in news_of(bad, [PassRate(number, 20, 18) for number in range(6)]):
        send(news, NETUID, 7)
    raise RuntimeError("the disk is full")


@flow(name="report", persist_result=False)
async def report():
    """A report that nothing is wrong with."""


if __name__ == "__main__":
    asyncio.run(report())
    asyncio.run(validate(return_state=True))
