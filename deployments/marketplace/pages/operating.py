"""The operator's page: what goes wrong, what waits, how the validator stands on the chain, and whether Prefect is well.

For a browser that was signed in by an operator's hotkey. It shows no renter and no secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from fastapi import Request
from starlette.responses import Response

from deployments.marketplace.affairs import Trouble
from deployments.marketplace.catalogue import Answer
from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.orchestration import STATES, Orchestration
from deployments.marketplace.pages.fragments import fragment, markup, sent
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.visitors import Operates
from deployments.marketplace.pages.words import lasting

router = page_router()


@router.get("/operator")
def operator(request: Request, desk: OfDesk, operator: Operates) -> Response:
    """All of it."""
    del operator
    made = _now(desk)
    return page(request, "operator.html", now=markup(made), etag=made.etag)


@router.get("/operator/now")
def operator_now(request: Request, desk: OfDesk, operator: Operates) -> Response:
    """What changes of it; nothing while nothing has changed."""
    del operator
    return sent(request, _now(desk))


def _now(desk: Desk) -> Answer:
    overview, prefect = desk.affairs.look(), desk.orchestrations.look()
    return fragment(
        "operator_now.html",
        overview=overview,
        troubles=(*troubles_of(prefect), *overview.troubles),
        starter=desk.market.starter.orchestrator,
        is_asked=desk.orchestrations.is_known,
        prefect=prefect,
        states=STATES,
        ago=partial(ago, desk.market.now()),
    )


def troubles_of(prefect: Orchestration | None) -> Iterator[Trouble]:
    """What is wrong with Prefect now."""
    if prefect is None:
        return
    if prefect.fault:
        mend = "see that its server runs and PREFECT_API_URL names it; requests wait meanwhile"
        yield Trouble(prefect.at, "PREFECT_AWAY", "Prefect", prefect.fault, mend, is_on=True)
    for pool in prefect.pools:
        name = f"pool {pool.name}"
        if pool.is_paused or any(queue.is_paused for queue in pool.queues):
            mend = "`prefect work-pool resume`, or `prefect work-queue resume`, unless somebody wants it so"
            yield Trouble(
                prefect.at, "POOL_PAUSED", name, "nothing of it, or of a queue, is run", mend, is_on=True
            )
        has_runs = any(sum(queue.runs) for queue in pool.queues)
        if has_runs and not any(worker.is_online for worker in pool.workers):
            mend = f"start one: `python -m deployments.prefect_process worker start --pool {pool.name}`"
            yield Trouble(prefect.at, "NO_WORKER", name, "no worker of it is online", mend, is_on=True)
        late = sum(queue.runs[STATES.index("Late")] for queue in pool.queues)
        if late:
            mend = "see whether its workers have room, and what they are at"
            yield Trouble(prefect.at, "RUNS_LATE", name, f"{late} runs should have begun", mend, is_on=True)


def ago(now: datetime, at: datetime) -> str:
    """How long ago, in whole minutes: what is shown changes no more often."""
    minutes = round((now - at).total_seconds() // 60)
    return f"{lasting(60 * minutes)} ago" if minutes > 0 else "under a minute ago"
