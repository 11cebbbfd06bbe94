"""How a step becomes a Prefect task: never cached, never persisted, retried on transport errors only.

Prefect's state is telemetry: what a step finds out is in our tables and in Parquet before it ends. So an epoch can
do without: outside of a flow run a step is the plain function, with neither retries nor a deadline of its own.

Prefect walks through every field of every record that a task is given, twice: of thousands of machines that is more than
their inspection. So a task is given one thing only, a `Call`, which it takes for no collection.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext

from tasks.errors import TransportError

P = ParamSpec("P")
R = TypeVar("R")
AsyncStep = Callable[P, Awaitable[R]]


class Call:
    """What a step is called with; a plain class on purpose, see above."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._function, self.args, self.kwargs = function, args, kwargs

    @cached_property
    def named(self) -> Mapping[str, Any]:
        """Every argument by its name, for the task run's own name."""
        return inspect.signature(self._function).bind(*self.args, **self.kwargs).arguments


def step(
    name: str, *, deadline_s: float, run_name: str | None = None, retries: int = 0
) -> Callable[[AsyncStep[P, R]], AsyncStep[P, R]]:
    """Decorate an async step: `deadline_s` bounds one attempt, `retries` are for transport errors.

    `run_name` may tell arguments by their names: "inspect-shard-{shard.number}".
    """

    def decorate(function: AsyncStep[P, R]) -> AsyncStep[P, R]:
        @wraps(function)
        async def work(call: Call) -> R:
            return await function(*call.args, **call.kwargs)

        del work.__wrapped__  # Prefect would look for the function's own arguments
        made = task(
            name=name,
            task_run_name=re.sub(r"\{(\w+)", r"{call.named[\1]", run_name or name),
            cache_policy=NO_CACHE,
            persist_result=False,
            timeout_seconds=deadline_s,
            retries=retries,
            retry_delay_seconds=2.0,
            retry_jitter_factor=0.5,
            retry_condition_fn=_is_transport,
        )(work)
        engine = cast("Callable[[Call], Awaitable[R]]", made)

        @wraps(function)
        async def dispatch(*args: P.args, **kwargs: P.kwargs) -> R:
            if is_in_flow_run():
                return await engine(Call(function, args, kwargs))
            return await function(*args, **kwargs)

        return dispatch

    return decorate


def is_in_flow_run() -> bool:
    """Whether Prefect's engine runs what calls this."""
    return FlowRunContext.get() is not None


async def _is_transport(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the attempt failed because the other side was away."""
    failure = await state.aresult(raise_on_failure=False)
    return isinstance(failure, TransportError)
