"""What is asked of a lease's container while it is waited for: logs, exec; and the feeds of a lease."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from deployments.marketplace import cursors, feeds, views
from deployments.marketplace.console import check_running, open_console, read_log
from deployments.marketplace.fields import Moment
from deployments.marketplace.guard import OfDesk, Reads, Rents
from deployments.marketplace.models import ExecAnswer, ExecBody, LeaseEvent, Logs, Page, Sample
from deployments.marketplace.problems import responses
from deployments.marketplace.routes.common import Cursor, LeaseId, Limit, own_lease

router = APIRouter(tags=["leases"])
Follow = Annotated[bool, Query(description="True: a feed of server-sent events.")]
LastEventId = Annotated[
    str,
    Header(
        alias="Last-Event-ID", pattern=r"^[0-9]{0,18}$", description="The feed goes on behind this event."
    ),
]
LastLineId = Annotated[
    str,
    Header(alias="Last-Event-ID", pattern=r"^[0-9]{0,20}$", description="The feed goes on behind this line."),
]


def feed_or(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that can also be a feed."""
    text = {"type": "string"}
    event = {"type": "object", "properties": {"id": text, "event": text, "data": text}}
    stream: Mapping[str, Any] = {"text/event-stream": {"schema": event}}
    return {
        **responses(*statuses),
        200: {"description": "A page, or with `follow` a feed", "content": stream},
    }


@router.get("/v1/events", response_model=Page[LeaseEvent], summary="What happened", responses=feed_or())
async def all_events(
    caller: Reads,
    desk: OfDesk,
    follow: Follow = False,  # noqa: FBT002  of a query
    limit: Limit = 100,
    cursor: Cursor = "",
    last_event_id: LastEventId = "",
) -> Page[LeaseEvent] | StreamingResponse:
    """To all of your leases, oldest first; a feed without Last-Event-ID begins with what happens from now on."""
    if follow:
        after = int(last_event_id) if last_event_id else await desk.pulse.now()
        return feeds.respond(desk, caller, feeds.lease_events(desk, caller, after))
    after = int(cursors.decode(cursor, int)[0]) if cursor else 0
    found = await run_in_threadpool(
        desk.stores.events.after, after, renter_id=caller.renter_id, limit=limit + 1
    )
    return _page(tuple(views.event(one) for one in found), limit)


@router.get(
    "/v1/leases/{lease_id}/events",
    response_model=Page[LeaseEvent],
    summary="What happened to a lease",
    responses=feed_or(404),
)
async def lease_events(
    lease_id: LeaseId,
    caller: Reads,
    desk: OfDesk,
    follow: Follow = False,  # noqa: FBT002  of a query
    limit: Limit = 100,
    cursor: Cursor = "",
    last_event_id: LastEventId = "",
) -> Page[LeaseEvent] | StreamingResponse:
    """From its request on, oldest first; a feed ends with the lease."""
    await run_in_threadpool(own_lease, desk, caller, lease_id)
    if follow:
        after = int(last_event_id or 0)
        return feeds.respond(desk, caller, feeds.lease_events(desk, caller, after, lease_id))
    after = int(cursors.decode(cursor, int)[0]) if cursor else 0
    found = await run_in_threadpool(desk.stores.events.after, after, lease_id=lease_id, limit=limit + 1)
    return _page(tuple(views.event(one) for one in found), limit)


@router.get(
    "/v1/leases/{lease_id}/logs",
    response_model=Logs,
    summary="What its program printed",
    responses=feed_or(404, 409, 502, 504),
)
async def logs(
    lease_id: LeaseId,
    caller: Reads,
    desk: OfDesk,
    tail: Annotated[int, Query(ge=0, le=10_000, description="At most so many of the last lines.")] = 100,
    since: Annotated[Moment | None, Query(description="Only what was printed from then on.")] = None,
    follow: Follow = False,  # noqa: FBT002  of a query
    timestamps: Annotated[bool, Query(description="Each line with its time before it.")] = False,  # noqa: FBT002  of a query
    last_event_id: LastLineId = "",
) -> Logs | StreamingResponse:
    """Stdout and stderr as they came; a feed ends when the container stands still."""
    lease = await run_in_threadpool(own_lease, desk, caller, lease_id)
    check_running(lease, may_stand_still=not follow)
    if follow:
        behind_ns = int(last_event_id or -1)
        lines = feeds.log_lines(desk, caller, lease, tail, since, has_times=timestamps, behind_ns=behind_ns)
        return feeds.respond(desk, caller, lines)
    read = await read_log(desk, caller.renter_id, lease, tail, since, has_times=timestamps)
    return Logs(lease_id=lease_id, text=read.text, truncated=read.is_truncated)


@router.get(
    "/v1/leases/{lease_id}/metrics",
    response_model=Page[Sample],
    summary="What a lease uses",
    responses=feed_or(404),
)
async def metrics(
    lease_id: LeaseId,
    caller: Reads,
    desk: OfDesk,
    since: Annotated[Moment | None, Query(description="Only what was measured after it.")] = None,
    follow: Follow = False,  # noqa: FBT002  of a query
    limit: Limit = 100,
) -> Page[Sample] | StreamingResponse:
    """The newest samples, oldest first: its cards, processor, memory and network, measured every few seconds."""
    await run_in_threadpool(own_lease, desk, caller, lease_id)
    if follow:
        return feeds.respond(desk, caller, feeds.samples(desk, caller, lease_id, since))
    found = await run_in_threadpool(desk.stores.health.metrics, lease_id, since, limit)
    return Page(items=tuple(views.sample(one) for one in found))


@router.post(
    "/v1/leases/{lease_id}/exec", summary="Run a command in it", responses=responses(404, 409, 502, 504)
)
async def execute(lease_id: LeaseId, body: ExecBody, caller: Rents, desk: OfDesk) -> ExecAnswer:
    """Without a shell and without a terminal; it ends after `timeout_s`, and its output is bounded."""
    caller.check_not_stopped()
    lease = await run_in_threadpool(own_lease, desk, caller, lease_id)
    check_running(lease, may_stand_still=False)
    stdin, limit = base64.b64decode(body.stdin), desk.market.limits.exec_output_bytes
    async with open_console(desk, caller.renter_id, lease) as console:
        printed = await console.call(lambda one: one.execute(body.argv, stdin, float(body.timeout_s), limit))
    return ExecAnswer(
        exit_code=printed.exit_code,
        stdout=base64.b64encode(printed.stdout).decode(),
        stderr=base64.b64encode(printed.stderr).decode(),
        truncated=printed.is_truncated,
    )


def _page(found: tuple[LeaseEvent, ...], limit: int) -> Page[LeaseEvent]:
    page = found[:limit]
    return Page(items=page, next_cursor=cursors.encode(page[-1].sequence) if len(found) > limit else None)
