"""Of everything else: databases are whole, flow runs have ended and say why, and nothing is left when the system is down."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

import httpx
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import PrefectException

from deployments.localnet.engine import find_tool
from deployments.localnet.engine_place import place_of
from deployments.prefect_client import client_of
from deployments.zombies import UNDER_WAY
from tasks.errors import SubnetError
from tests.chaos.found import Check, check
from tests.chaos.processes import processes_of
from tests.chaos.system import System

PAGE = 200
PATIENCE_S, AGAIN_S = 180.0, 2.0
SAYS_NOTHING = frozenset({StateType.COMPLETED, StateType.SCHEDULED})
"""States that need no words."""


def check_databases(folder: Path) -> Check:
    """Every SQLite file of the system passes its own check, and no foreign key points nowhere."""
    files = sorted(p for s in ("*.sqlite", "*.db") for p in folder.rglob(s) if "engine" not in p.parts)
    return check("databases are whole", len(files), "files", [w for file in files for w in damage(file)])


def damage(file: Path) -> Iterator[str]:
    """What SQLite finds wrong with a file."""
    try:
        with closing(sqlite3.connect(file)) as connection:
            for (told,) in connection.execute("PRAGMA integrity_check").fetchall():
                if told != "ok":
                    yield f"{file}: {told}"
            if file.name == "validator.sqlite" and (
                rows := connection.execute("PRAGMA foreign_key_check").fetchall()
            ):
                yield f"{file}: {len(rows)} rows point nowhere, e.g. {rows[0]}"
    except sqlite3.DatabaseError as error:
        yield f"{file}: {error}"


def flow_runs(access: Mapping[str, str], *types: StateType) -> list[FlowRun]:
    """All flow runs in these states, in any without; a server that is busy is asked again for a while."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return _flow_runs(access, types)
        except (SubnetError, PrefectException, httpx.HTTPError):
            if time.monotonic() > end:
                raise
            time.sleep(AGAIN_S)


def _flow_runs(access: Mapping[str, str], types: tuple[StateType, ...]) -> list[FlowRun]:
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))) if types else None
    found: list[FlowRun] = []
    with client_of(access) as client:
        while page := client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=state) if state else None, limit=PAGE, offset=len(found)
        ):
            found += page
    return found


def under_way(access: Mapping[str, str], before: datetime) -> list[FlowRun]:
    """Those that were taken before this moment and have no end yet."""
    return [r for r in flow_runs(access, *UNDER_WAY) if r.state is not None and r.state.timestamp < before]


def check_runs(access: Mapping[str, str], before: datetime) -> Check:
    """Every flow run that was begun before this moment has ended; what is not Completed says why."""
    runs = [r for r in flow_runs(access) if r.state is not None and r.state.type is not StateType.SCHEDULED]
    wrong = [
        f"run {r.name} is {r.state.name} since {r.state.timestamp:%H:%M:%S}"
        for r in runs
        if r.state and r.state.type in UNDER_WAY and r.state.timestamp < before
    ]
    wrong += [
        f"run {r.name} is {r.state.name} and does not say why"
        for r in runs
        if r.state and r.state.is_final() and r.state.type not in SAYS_NOTHING and not r.state.message
    ]
    return check("flow runs have ended and say why", len(runs), "runs", wrong)


def check_nothing_left(system: System, exit_code: int) -> Check:
    """No process, socket, bridge, control group or open port of the system when it was told to stop."""
    wrong = [] if exit_code in {0, 130} else [f"subnet up ended with exit code {exit_code}"]
    wrong += [
        f"{one.role} ({one.pid}) lives: {one.command[:120]}" for one in processes_of(system.layout.folder)
    ]
    place = place_of(system.layout.subnet)
    wrong += [f"{place.run} is there"] if place.run.exists() else []
    wrong += [f"control group {p} is there" for p in Path("/sys/fs/cgroup").glob(f"**/{place.run.name}")]
    if place.bridge in _links():
        wrong.append(f"bridge {place.bridge} is there")
    wrong += [f"{path.name} is left" for path in _told(system)]
    return check("nothing of it is left", 5, "kinds of things", wrong)


def _links() -> str:
    done = subprocess.run(
        [find_tool("ip"), "-oneline", "link", "show"], capture_output=True, text=True, check=False
    )
    return done.stdout


def _told(system: System) -> Iterable[Path]:
    """What says that something is up."""
    return [p for p in (system.layout.run / "stack.json", system.layout.run / "market.json") if p.exists()]
