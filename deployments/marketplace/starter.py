"""Starting what was asked for: works that wait in the database become flow runs, by deployment, once each.

    Starter.start(work) -> flow run       the seam; over Prefect: `PrefectStarter`
    Starting                              takes works, oldest first, at once when it is poked and now and then anyway

The run's idempotency key is the work's name, so that a crash between making the run and writing it down makes no second
one. While Prefect is away works stay where they are, and are tried again with growing pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Protocol
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound, PrefectException
from starlette.concurrency import run_in_threadpool

from deployments.bell import bell_of, ring
from deployments.marketplace.market import Desk, OrchestratorState
from deployments.prefect_client import quick_client
from storage.errors import StorageError
from storage.rental import Work, WorkKind
from tasks.errors import TransportError

LOOK_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
START_S = 20.0
BATCH, AT_ONCE = 100, 10
DEPLOYMENTS: Mapping[WorkKind, tuple[str, str]] = {
    WorkKind.RENT: ("rent/market", "lease_id"),
    WorkKind.TEARDOWN: ("teardown/market", "lease_id"),
    WorkKind.OPERATE: ("operate/market", "operation_id"),
    WorkKind.COPY: ("operate/copies", "operation_id"),
}
"""The deployment of each kind, and the name of its one parameter."""
_log = logging.getLogger("subnet.marketplace")


class OrchestratorAway(TransportError):
    """Whoever runs the flows does not answer: what waits is tried again."""


class NotDeployed(OrchestratorAway):
    """It answers, and does not know this one flow: others may be started."""


class Starter(Protocol):
    """Makes flow runs."""

    async def start(self, work: Work) -> str:
        """The run's id; the same for the same work. OrchestratorAway or NotDeployed when it can't be had now."""


class PrefectStarter:
    """Runs of Prefect's deployments."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._deployments: dict[str, tuple[UUID, str]] = {}
        """The id of each, and its work pool's bell."""

    async def start(self, work: Work) -> str:
        """The run's id."""
        deployment, parameter = DEPLOYMENTS[work.kind]
        try:
            async with asyncio.timeout(START_S):
                deployment_id, bell = await self._find(deployment)
                made = await self._client.create_flow_run_from_deployment(
                    deployment_id,
                    parameters={parameter: work.subject},
                    idempotency_key=work.work_id,
                    name=f"{work.kind.value}-{work.subject}",
                )
        except ObjectNotFound as error:
            self._deployments.pop(deployment, None)
            raise NotDeployed(f"{deployment} is not known: `subnet deploy` makes it") from error
        except (httpx.HTTPError, PrefectException, OSError, TimeoutError) as error:
            self._deployments.pop(deployment, None)
            raise OrchestratorAway(f"{deployment}: {type(error).__name__}: {error}") from error
        ring(bell)
        return str(made.id)

    async def _find(self, name: str) -> tuple[UUID, str]:
        if name not in self._deployments:
            found = await self._client.read_deployment_by_name(name)
            bell = bell_of(str(self._client.api_url), found.work_pool_name or "")
            self._deployments[name] = found.id, bell
        return self._deployments[name]


class Starting:
    """Starts works for as long as it runs; what routes see of it is `poke` and `orchestrator`."""

    def __init__(self) -> None:
        self.orchestrator: OrchestratorState = "unknown"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poked: asyncio.Event | None = None

    def poke(self) -> None:
        """There is new work; from any thread."""
        if self._loop is not None and self._poked is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: so does the process
                self._loop.call_soon_threadsafe(self._poked.set)

    async def start_waiting(self, desk: Desk, starter: Starter) -> int:
        """Start what waits, a batch of it; how many were started. OrchestratorAway when none could be.

        What breaks on one work is raised when all others were started.
        """
        waiting = await run_in_threadpool(desk.stores.works.unstarted, BATCH)
        room = asyncio.Semaphore(AT_ONCE)

        async def one(work: Work) -> None:
            async with room:
                run_id = await starter.start(work)
                await run_in_threadpool(desk.stores.works.started, work.work_id, run_id)

        faults: list[BaseException] = []
        for some in (
            waiting[:1],
            waiting[1:],
        ):  # one alone: of a server that is silent, one of them finds out
            done = await asyncio.gather(*(one(work) for work in some), return_exceptions=True)
            faults += [fault for fault in done if isinstance(fault, BaseException)]
            if any(type(fault) is OrchestratorAway for fault in faults):
                break
        if faults:
            raise next((fault for fault in faults if not isinstance(fault, OrchestratorAway)), faults[0])
        return len(waiting)

    @contextlib.asynccontextmanager
    async def running(self, desk: Desk, starter: Starter) -> AsyncIterator[None]:
        """Start works for as long as the block lasts."""
        self._loop, self._poked = asyncio.get_running_loop(), asyncio.Event()
        task = asyncio.create_task(self._run(desk, starter), name="starter")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._loop = None

    async def _run(self, desk: Desk, starter: Starter) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            assert self._poked is not None
            self._poked.clear()
            try:
                started = await self.start_waiting(desk, starter)
            except OrchestratorAway as error:
                if self.orchestrator != "away":
                    _log.warning("the orchestrator is away, requests wait: %s", error)
                self.orchestrator = "away"
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
                continue
            except StorageError as error:
                _log.warning("the starter waits for the database: %s", error)
                await asyncio.sleep(LONGEST_PAUSE_S)
                continue
            except Exception:  # noqa: BLE001  a starter that ends here starts nothing any more, and nobody sees it
                _log.exception("the starter goes on in %g s", pause_s)
                self.orchestrator = "failing"
                await self._wait(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
                continue
            if started or self.orchestrator == "failing":
                self.orchestrator, pause_s = "ok" if started else "unknown", FIRST_PAUSE_S
            if started < BATCH:
                await self._wait(LOOK_S)

    async def _wait(self, seconds: float) -> None:
        assert self._poked is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._poked.wait()


@contextlib.asynccontextmanager
async def with_prefect(desk: Desk, starting: Starting) -> AsyncIterator[None]:
    """Start works through the Prefect server that PREFECT_API_URL names, for as long as the block lasts."""
    async with quick_client() as client, starting.running(desk, PrefectStarter(client)):
        yield
