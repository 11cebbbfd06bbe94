"""Flow runs of processes that were killed: Prefect shows them as Running for ever, and their slots stay taken.

A run is ended here when its process is gone for sure, or when nothing was heard of it for `SILENCE`: no change of its state and
no heartbeat (every 60 s, `prefect.toml`). Whoever took a run in `flow_worker.py` has left its name in it; of other workers' runs,
and of those on other computers, silence alone tells. Prefect's own automation (`prefect_setup.py`) does the second part too, but
not for what it never heard of: a server that was killed, or one that was away when the run began.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events.filters import EventFilter, EventOccurredFilter, EventResourceFilter
from prefect.states import Cancelled, Crashed

from storage.claims import run_of
from storage.runs import Run, is_dead_here

SILENCE = timedelta(seconds=180)
"""Three heartbeats of prefect.toml."""
UNDER_WAY = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
MOST = 200
"""Looked at in one round."""


async def close_dead(client: PrefectClient, now: datetime) -> list[FlowRun]:
    """End the flow runs whose processes are gone, saying why; which they were."""
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNDER_WAY))))
    closed = []
    for flow_run in await client.read_flow_runs(flow_run_filter=wanted, limit=MOST):
        if why := await _why_dead(client, flow_run, now):
            await client.set_flow_run_state(flow_run.id, _end_of(flow_run, why), force=True)
            closed.append(flow_run)
    return closed


async def _why_dead(client: PrefectClient, flow_run: FlowRun, now: datetime) -> str:
    """Empty: it may be alive."""
    assert flow_run.state is not None
    holder = _holder(flow_run)
    if is_dead_here(holder):
        return f"its process is gone: {holder.pid} on {holder.host}" if holder else ""
    if now - flow_run.state.timestamp < SILENCE:
        return ""
    heard = await client.read_events(
        EventFilter(
            occurred=EventOccurredFilter.model_validate({"since": now - SILENCE}),
            resource=EventResourceFilter(id=[f"prefect.flow-run.{flow_run.id}"]),
        ),
        limit=1,
    )
    return "" if heard.events else f"nothing was heard of it for {SILENCE.seconds} s: its process is gone"


def _holder(flow_run: FlowRun) -> Run | None:
    """Whoever took it, by the name that it left; None when it left none."""
    told = flow_run.state.message if flow_run.state is not None else ""
    return run_of(flow_run.infrastructure_pid or "") or run_of(told or "")


def _end_of(flow_run: FlowRun, why: str) -> State[None]:
    assert flow_run.state is not None
    if flow_run.state.type is StateType.CANCELLING:
        return Cancelled(message=why)
    return Crashed(message=why)
