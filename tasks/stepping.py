"""How a step becomes a Prefect task: never cached, never persisted, retried on transport errors only.

Prefect's state is telemetry: what a step finds out is in our tables and in Parquet before it ends. So an epoch can
do without: outside of a flow run a step is the plain function, with neither retries nor a deadline of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext

from tasks.errors import TransportError

P = ParamSpec("P")
R = TypeVar("R")
AsyncStep = Callable[P, Awaitable[R]]


def step(
    name: str, *, deadline_s: float, run_name: str | None = None, retries: int = 0
) -> Callable[[AsyncStep[P, R]], AsyncStep[P, R]]:
    """Decorate an async step: `deadline_s` bounds one attempt, `retries` are for transport errors."""

    def decorate(function: AsyncStep[P, R]) -> AsyncStep[P, R]:
        made = task(
            name=name,
            task_run_name=run_name or name,
            cache_policy=NO_CACHE,
            persist_result=False,
            timeout_seconds=deadline_s,
            retries=retries,
            retry_delay_seconds=2.0,
            retry_jitter_factor=0.5,
            retry_condition_fn=_is_transport,
        )(function)
        engine = cast("AsyncStep[P, R]", made)

        @wraps(function)
        async def dispatch(*args: P.args, **kwargs: P.kwargs) -> R:
            return await (engine if is_in_flow_run() else function)(*args, **kwargs)

        return dispatch

    return decorate


def is_in_flow_run() -> bool:
    """Whether Prefect's engine runs what calls this."""
    return FlowRunContext.get() is not None


async def _is_transport(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the attempt failed because the other side was away."""
    failure = await state.aresult(raise_on_failure=False)
    return isinstance(failure, TransportError)
