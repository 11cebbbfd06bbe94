"""A worker that runs flows inside itself: no interpreter is started for a run, so it begins a quarter of a second after it was asked for.

    python -m deployments.flow_worker --pool renting --limit 64

It takes the runs of a work pool as Prefect's own worker does (`prefect worker start --pool renting` does the same work, three
seconds later) and runs all of them in one event loop, with the outside worlds opened once (`flows.edges.keep_edges`). Settings are
those of the environment, and of `.env` in the folder that it is started in. At most half of its slots are for runs of queues beside
the pool's default one: what takes long stands there, and nothing else waits for it.
It looks once a second, and at once when its bell rings (`deployments/bell.py`): a look is a write on Prefect's server.
Only async flows that wait without blocking belong here. A run that is cancelled in Prefect is cancelled in its task, and SIGTERM
cancels all of them; what that undoes is the flow's own (a lease's next run goes on with it: `tasks/renting/jobs.py`). After a
kill -9 what the runs were about stands in our own state, and the next worker shows them as crashed: each looks now and then
for runs whose processes are gone, of whichever pool (`zombies.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import deployments.signed_in  # noqa: F401  before Prefect

# isort: split
import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import OrchestrationResult, SetStateStatus
from prefect.exceptions import Abort, PrefectException
from prefect.flow_engine import run_flow_async
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.states import Cancelled, Crashed, Pending

from deployments.bell import bell_of, heard
from deployments.prefect_client import quick_client
from deployments.sites import load_dotenv
from deployments.zombies import close_dead
from flows.edges import keep_edges
from storage.claims import holder_of
from storage.runs import this_run
from tasks.errors import SettingError

LOOK_S = 1.0
CANCEL_POLL_S = 2.0
HEARTBEAT_S = 15.0
DEAD_POLL_S = 30.0
GRACE_S = 20.0
"""After SIGTERM, for what the runs clean up."""
DEFAULT_QUEUE = "default"
AWAY_S = 2.0
"""Between two tries while Prefect's server does not answer."""

_log = logging.getLogger("subnet.worker")
_PREFECT_AWAY = (httpx.HTTPError, PrefectException, OSError)


class FlowWorker:
    """Takes the due runs of one work pool and runs them, at most `limit` at once."""

    def __init__(
        self,
        client: PrefectClient,
        pool: str,
        *,
        limit: int,
        look_s: float = LOOK_S,
        sign: Path | None = None,
        load: Callable[[str], Flow[..., Any]] = load_flow_from_entrypoint,
    ) -> None:
        self._client, self._pool, self._limit, self._load = client, pool, limit, load
        self._look_s = look_s
        self._sign = sign
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._holder = holder_of(this_run())
        """Left in each run that it takes: after a kill -9 it tells whose it was."""
        self._flows: dict[UUID, Flow[..., Any]] = {}
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._aside: set[UUID] = set()
        """Those that run and are of another queue than the default one."""
        self._cancelled: set[UUID] = set()
        self._rung = asyncio.Event()

    async def work(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then all that runs is cancelled, and has `GRACE_S` to clean up."""
        try:
            with heard(bell_of(str(self._client.api_url), self._pool), self._rung):
                await self._look_until(stop)
        finally:
            await self._end_all()

    async def _look_until(self, stop: asyncio.Event) -> None:
        next_heartbeat = next_look = next_dead = 0.0
        while not stop.is_set():
            try:
                if time.monotonic() >= next_heartbeat:
                    next_heartbeat = time.monotonic() + HEARTBEAT_S
                    await self._client.send_worker_heartbeat(self._pool, self._name, HEARTBEAT_S)
                    if self._sign is not None:
                        self._sign.touch()
                if time.monotonic() >= next_dead:
                    next_dead = time.monotonic() + DEAD_POLL_S
                    for dead in await close_dead(self._client, datetime.now(UTC)):
                        _log.warning("run %s is over: its process is gone", dead.name)
                if self._running and time.monotonic() >= next_look:
                    next_look = time.monotonic() + CANCEL_POLL_S
                    await self._cancel_what_is_cancelling()
                self._rung.clear()
                await self.take_due()
                await _pause(self._look_s, stop, self._rung)
            except _PREFECT_AWAY as error:
                _log.warning("Prefect does not answer, tried again in %g s: %s", AWAY_S, error)
                await _pause(AWAY_S, stop)

    async def take_due(self) -> None:
        """Start what is due, as far as there is room."""
        if len(self._running) >= self._limit:
            return
        due = await self._client.get_scheduled_flow_runs_for_work_pool(
            self._pool, scheduled_before=datetime.now(UTC)
        )
        for flow_run in (found.flow_run for found in due):
            is_aside = flow_run.work_queue_name not in (None, DEFAULT_QUEUE)
            if flow_run.id in self._running or not self._has_room(is_aside=is_aside):
                continue
            if await self._is_ours(flow_run):
                task = asyncio.create_task(self._run(flow_run), name=flow_run.name)
                self._running[flow_run.id] = task
                self._aside |= {flow_run.id} if is_aside else set()
                task.add_done_callback(partial(self._forget, flow_run.id))

    def _has_room(self, *, is_aside: bool) -> bool:
        if is_aside and len(self._aside) >= max(1, self._limit // 2):
            return False
        return len(self._running) < self._limit

    def _forget(self, run_id: UUID, _: asyncio.Task[None]) -> None:
        self._running.pop(run_id, None)
        self._aside.discard(run_id)
        self._cancelled.discard(run_id)

    async def _is_ours(self, flow_run: FlowRun) -> bool:
        """Of several workers that see a run, the one whose Pending the server accepts."""
        pending: State[None] = Pending(message=self._holder)
        answer: OrchestrationResult[None] = await self._client.set_flow_run_state(flow_run.id, pending)
        return answer.status is SetStateStatus.ACCEPT

    async def _run(self, flow_run: FlowRun) -> None:
        """One run to its end; what its flow raises is in its state, and none of it ends the worker."""
        try:
            flow = await self._flow_of(flow_run)
            with suppress(*_PREFECT_AWAY):  # without its name it is found by its silence; the work goes first
                await self._client.update_flow_run(flow_run.id, infrastructure_pid=self._holder)
            await run_flow_async(flow, flow_run=flow_run, parameters=flow_run.parameters, return_type="state")
        except asyncio.CancelledError:
            if flow_run.id in self._cancelled:
                await self._say(flow_run, Cancelled())
        except Abort:
            return  # somebody else has it
        except Exception as error:  # noqa: BLE001  a run that can't be run costs only itself
            _log.exception("run %s could not be run", flow_run.name)
            await self._say(flow_run, Crashed(message=f"{type(error).__name__}: {error}"[:500]))

    async def _say(self, flow_run: FlowRun, state: State[None]) -> None:
        with suppress(*_PREFECT_AWAY):
            await self._client.set_flow_run_state(flow_run.id, state, force=True)

    async def _flow_of(self, flow_run: FlowRun) -> Flow[..., Any]:
        """The flow of a run's deployment, which names it by its module."""
        if flow_run.deployment_id is None:
            raise PrefectException(f"run {flow_run.name} belongs to no deployment")
        if flow_run.deployment_id not in self._flows:
            deployment = await self._client.read_deployment(flow_run.deployment_id)
            self._flows[flow_run.deployment_id] = self._load(deployment.entrypoint or "")
        return self._flows[flow_run.deployment_id]

    async def _cancel_what_is_cancelling(self) -> None:
        wanted = FlowRunFilter(
            id=FlowRunFilterId(any_=list(self._running)),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLING])),
        )
        for flow_run in await self._client.read_flow_runs(flow_run_filter=wanted):
            if flow_run.id in self._running and flow_run.id not in self._cancelled:
                self._cancelled.add(flow_run.id)
                self._running[flow_run.id].cancel()

    async def _end_all(self) -> None:
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_S)


async def _pause(seconds: float, *events: asyncio.Event) -> None:
    """So long, or until one of them is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()


async def serve(pool: str, limit: int, look_s: float, sign: Path | None, stop: asyncio.Event) -> None:
    """Work on a pool until `stop` is set."""
    async with quick_client() as client, keep_edges():
        await FlowWorker(client, pool, limit=limit, look_s=look_s, sign=sign).work(stop)


def main(arguments: list[str] | None = None) -> int:
    """Work until SIGTERM or Ctrl-C; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deployments.flow_worker", description=__doc__)
    parser.add_argument("--pool", required=True, help="the work pool whose runs are taken")
    parser.add_argument("--limit", type=int, default=64, help="runs at once (64)")
    parser.add_argument(
        "--every",
        type=float,
        default=LOOK_S,
        metavar="SECONDS",
        help="how often it looks when no bell rings (1)",
    )
    parser.add_argument(
        "--sign",
        type=Path,
        metavar="FILE",
        help="a file that is touched whenever Prefect has taken a heartbeat (every 15 s): its age is the worker's health",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        load_dotenv()
    except SettingError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    loop, stop, failed = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    def live() -> None:
        try:
            loop.run_until_complete(serve(options.pool, options.limit, options.every, options.sign, stop))
        except BaseException:
            failed.set()
            raise

    # Prefect's engine takes SIGTERM for itself in a main thread, and there for one run only: the loop has a thread of its own.
    thread = threading.Thread(target=live, name="flows")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    thread.start()
    while thread.is_alive():
        thread.join(0.5)
    return int(failed.is_set())


if __name__ == "__main__":
    raise SystemExit(main())
