"""`subnet up`: the whole local system stays up, and the worker runs an epoch every few minutes."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from uuid import UUID

import click
import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectException
from rich.console import Console

from deployments.localnet import market
from deployments.prefect_auth import auth_file
from deployments.prefect_client import client_of
from deployments.prefect_setup import deploy, run_deployment
from deployments.processes import Child, start
from deployments.sites import REPOSITORY, Site, open_site
from deployments.supervising import Supervised
from deployments.view import PhaseLines, cell, make_console, show_epoch
from storage.database import migrate, open_database
from storage.records import EpochState
from storage.state import State
from tasks.errors import UserError

POLL_S = 0.5
LOOK_S = 5.0
POOL = "localnet"
DEPLOYMENTS = Path("deployments/localnet/prefect.yaml")


@click.command()
def command() -> None:
    """Keep the local subnet, a Prefect server with its UI and a worker up until Ctrl-C; an epoch runs every three minutes.

    \b
    Examples:
      subnet up
      subnet down      from another terminal
    """
    console = make_console()
    began = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)

    def say(text: str) -> None:
        console.print(f"  {time.monotonic() - began:5.1f} s  {text}", markup=False, highlight=False)

    with open_site(say, is_kept=True) as site:
        if not site.settings.is_embedded:
            raise UserError(
                "`subnet up` keeps the local subnet up; for a real network see docs/validator.md, 'Running'"
            )
        if site.server.child is None:
            raise UserError("the local system is up already; `subnet down` stops it")
        deploy((POOL, market.POOL), DEPLOYMENTS, site.environment)
        run_deployment("validate/localnet", site.environment)
        say("deployments are made, a first epoch is asked for")
        worker = Supervised(_start_worker(site), partial(_start_worker, site, is_again=True))
        try:
            with market.serve_renting(site, say) as renting:
                say(
                    f"worker is up; an epoch every three minutes. Prefect UI: {site.server.url}, "
                    f"which asks for what is in {auth_file(site.folder)}. Ctrl-C stops everything."
                )
                _watch(site, (*site.kept, worker, renting.worker, renting.market), console)
        finally:
            worker.stop(grace_s=2.0)


def _start_worker(site: Site, *, is_again: bool = False) -> Child:
    return start(
        "Prefect worker",
        [
            sys.executable,
            "-m",
            "prefect",
            "worker",
            "start",
            "--pool",
            POOL,
            "--type",
            "process",
            "--limit",
            "2",  # a machine that is brought in waits for its verdict, and so for an epoch; epochs are one at a time anyway
        ],
        log=site.folder / "logs" / "worker.log",
        environment={**site.environment, "SUBNET_REPOSITORY": str(REPOSITORY)},
        folder=REPOSITORY,
        is_again=is_again,
    )


def _watch(site: Site, kept: Sequence[Supervised], console: Console) -> None:
    """Show the phases of each epoch while it works and its machines when it is closed, and begin again what dies, for ever."""
    engine = open_database(site.settings.database_url)
    migrate(engine)
    state = State(engine)
    newest = max((s.header.epoch for s in state.latest_epochs(1)), default=-1)
    lines, shown = PhaseLines(console), newest
    failures = FailedRuns(site.environment)
    while True:
        for told in filter(None, [one.look() for one in kept]):
            console.print(
                f"{datetime.now(UTC):%H:%M:%S} UTC  {told}", style="red", markup=False, highlight=False
            )
        for failure in failures.fresh():
            console.print(cell(failure), style="red")
        for summary in reversed(state.latest_epochs(3)):
            epoch = summary.header.epoch
            if epoch <= shown:
                continue
            if epoch != newest:
                newest, lines = epoch, PhaseLines(console)
                console.print(f"epoch {epoch}, {datetime.now(UTC):%H:%M:%S} UTC", style="bold")
            lines.show(state.read_phases(epoch), datetime.now(UTC))
            outcome = state.load_outcome(epoch) if summary.state is not EpochState.OPEN else None
            if outcome is not None:
                shown = epoch
                show_epoch(console, outcome)
        time.sleep(POLL_S)


class FailedRuns:
    """Flow runs that failed since it was made: an epoch that fails before it begins leaves no trace in the state."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._since = datetime.now(UTC)
        self._told: set[UUID] = set()
        self._next_look = 0.0

    def fresh(self) -> Iterator[str]:
        """A sentence for each that was not told before; looks every few seconds at most."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_S
        began = FlowRunFilterStartTime.model_validate({"after_": self._since})
        bad = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.FAILED, StateType.CRASHED]))
        wanted = FlowRunFilter(start_time=began, state=bad)
        try:
            with client_of(self._environment) as client:
                runs = client.read_flow_runs(flow_run_filter=wanted, limit=20)
        except (PrefectException, httpx.HTTPError):
            return  # it is begun again: what failed meanwhile is told then
        for run in runs:
            if run.id not in self._told:
                self._told.add(run.id)
                yield f"{run.name}: {run.state.message if run.state else 'failed'}"


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
