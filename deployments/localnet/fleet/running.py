"""One epoch over a fleet: the rig and a Prefect server come up, the real flow runs in a process of its own, all ends."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deployments.epochs import run_epoch
from deployments.localnet.chain.ledger import Ledger
from deployments.localnet.chain.substrate import LocalSubstrate
from deployments.localnet.farm import EXECUTORS_PER_MINER
from deployments.localnet.fleet.figures import PhaseFigure, StepFigure, outcomes_of, phases_of, steps_of
from deployments.localnet.fleet.hosts import hosts_cast, why_missing
from deployments.localnet.fleet.measuring import VALIDATOR, Usage, Watch, idle_cores
from deployments.localnet.fleet.profiles import Conditions
from deployments.localnet.layout import Layout
from deployments.prefect_server import PrefectServer, client_environment, launch
from deployments.processes import Child, start, tail
from deployments.sites import REPOSITORY, Site
from storage.history import read_transcripts
from storage.records import BLOCKS_PER_EPOCH, EpochOutcome, Phase
from tasks.errors import SettingError
from tasks.policy import FLEET

FARM, SERVER = "fleet", "prefect server"
FARM_DEADLINE_S = 600.0
IDLE_S, SETTLE_S = 4.0, 8.0
"""How long the server is watched doing nothing, and how long it may work on when the epoch is over."""
MOST_WAVES = 5
"""A wave takes 35 to 45 s, and no wave begins later than 300 s after the first."""
LEFT_BEHIND = ("history", "prefect", "logs", "run", "backups", "validator.sqlite", "validator.sqlite-wal")
"""Of an earlier run. The chain, its keys and compiled kernels are kept: they take a minute, and tell nothing of the run."""

Say = Callable[[str], None]
Show = Callable[[Iterable[Phase]], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be run."""

    executors: int
    conditions: Conditions
    is_warm: bool = False
    """Whether an epoch that is not measured goes before."""
    has_hosts: bool = False
    """Whether the executors are hosts with OpenSSH servers in networks of their own, not a farm."""


@dataclass(frozen=True, slots=True)
class Told:
    """What an epoch over a fleet took, and came to."""

    executors: int
    proved: int
    wall_s: float
    """Of the epoch, from its begin to its end as the state has them."""
    process_wall_s: float
    """The same with its process's start and end, and the wait for the chain to pay."""
    phases: tuple[PhaseFigure, ...]
    steps: tuple[StepFigure, ...]
    outcomes: Mapping[str, int]
    usage: Mapping[str, Usage]
    prover_cpu_s: float
    """Of the fleet's, the part that its cards took."""
    server_idle_cores: float
    """Taken off the server's CPU."""
    incidents: tuple[str, ...]

    def cpu_ms_each(self, name: str) -> float:
        """CPU of one tree for each executor."""
        return 1e3 * self.usage[name].cpu_s / self.executors

    def to_json(self) -> dict[str, object]:
        """For programs."""
        each = {f"{name}_cpu_ms_each": self.cpu_ms_each(name) for name in self.usage}
        return asdict(self) | {"cpu_ms_each": each}


def run_fleet(folder: Path, asked: Asked, say: Say, show: Show) -> Told:
    """Run it in this folder; whatever was started has ended when this returns or raises."""
    if asked.has_hosts:
        if reason := why_missing():
            raise SettingError("kind", "openssh", f"farm here: {reason}")
        hosts_cast(asked.executors)  # refuses too many before anything is started
    miners = -(-asked.executors // EXECUTORS_PER_MINER)
    layout = Layout(folder.absolute() / (f"{miners}-miners" + ("-of-hosts" if asked.has_hosts else "")))
    layout.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_alone(layout.folder))
        _sweep(layout)
        (layout.folder / "prefect").mkdir(parents=True, exist_ok=True)
        server = launch(layout.folder, REPOSITORY, 0)
        stack.callback(server.stop)
        farm = _start_farm(layout, asked)
        stack.callback(farm.stop, 30.0)
        say(f"setting up {asked.executors} executors of {miners} miners")
        farm.wait_until(lambda: "ready" in tail(farm.log), FARM_DEADLINE_S)
        say("the fleet listens")
        server.wait()
        site = _site(layout, server, asked.executors)
        if asked.is_warm:
            say("a first epoch, to warm up")
            _advance(layout)
            run_epoch(site, show, say)
        told = _measured(layout, site, farm, say, show)
        farm.stop(30.0)
        return replace(told, prover_cpu_s=_prover_s(farm) if not asked.is_warm else told.prover_cpu_s)


def _measured(layout: Layout, site: Site, farm: Child, say: Say, show: Show) -> Told:
    assert site.server.child is not None
    time.sleep(IDLE_S)
    idle = idle_cores(site.server.child.process.pid, IDLE_S, time.sleep)
    _advance(layout)
    say("the epoch begins")
    before_s, began = _ended_children_s(), time.monotonic()
    roots = {FARM: farm.process.pid, SERVER: site.server.child.process.pid}
    with Watch(roots) as watch:
        outcome = run_epoch(site, show, say).outcome
        used_s, wall_s = _ended_children_s() - before_s, time.monotonic() - began
        time.sleep(SETTLE_S)
    server = watch.usage(SERVER)
    server = replace(server, cpu_s=max(0.0, server.cpu_s - idle * (time.monotonic() - began)))
    return Told(
        executors=len(outcome.executors),
        proved=sum(v.proved for v in outcome.verdicts),
        wall_s=(outcome.finished_at - outcome.started_at).total_seconds(),
        process_wall_s=wall_s,
        phases=phases_of(outcome),
        steps=steps_of(outcome, _transcripts(site, outcome)),
        outcomes=outcomes_of(outcome),
        usage={
            VALIDATOR: watch.usage(VALIDATOR, ended_cpu_s=used_s),
            SERVER: server,
            FARM: watch.usage(FARM),
        },
        prover_cpu_s=0.0,
        server_idle_cores=idle,
        incidents=tuple(f"{i.code}: {i.got}" for i in outcome.incidents),
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One run at a time in a folder; SettingError for a second one."""
    with (folder / "fleet.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingError("folder", str(folder), "a folder in which no other fleet runs") from None
        yield


def _sweep(layout: Layout) -> None:
    for name in LEFT_BEHIND:
        path = layout.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _start_farm(layout: Layout, asked: Asked) -> Child:
    given = asked.conditions
    least_s, most_s = given.wait_s
    rig = "fleet.hosts" if asked.has_hosts else "farm"
    command = [sys.executable, "-m", f"deployments.localnet.{rig}", "--folder", str(layout.subnet)]
    command += ["--executors", str(asked.executors), "--seed", str(given.seed)]
    command += ["--rtt-ms", "far" if given.rtt_ms is None else str(given.rtt_ms)]
    if not asked.has_hosts:
        command += ["--wait", f"{least_s:g}-{most_s:g}", "--faults", str(given.faults)]
        command += ["--lines"] if given.is_line_bounded else []
    ours = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment = ours | {"NUMBA_CACHE_DIR": str(layout.folder / "numba"), "PYTHONUNBUFFERED": "1"}
    return start("fleet", command, log=layout.logs / "fleet.log", environment=environment, folder=REPOSITORY)


def sessions_for(executors: int) -> str:
    """SUBNET_MAX_SESSIONS, unless it is set: the usual thousand, or as many as it takes for `MOST_WAVES`."""
    return os.environ.get("SUBNET_MAX_SESSIONS") or str(max(1_000, -(-executors // MOST_WAVES)))


def _site(layout: Layout, server: PrefectServer, executors: int) -> Site:
    ours = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return Site(
        folder=layout.folder,
        settings=replace(layout.settings(os.environ), policy=FLEET.name),
        server=server,
        environment=ours
        | client_environment(layout.folder, server)
        | {"SUBNET_FOLDER": str(layout.folder), "NUMBA_CACHE_DIR": str(layout.folder / "numba")}
        | {"SUBNET_MAX_SESSIONS": sessions_for(executors)},
        flow="deployments.localnet.flows:validate",
        substrate=lambda: LocalSubstrate(layout.chain),
    )


def _advance(layout: Layout) -> None:
    """The next epoch and the next tempo, so that nobody waits for them to begin."""
    with closing(Ledger(layout.chain)) as ledger:
        ledger.advance(BLOCKS_PER_EPOCH)


def _transcripts(site: Site, outcome: EpochOutcome) -> Iterable[tuple[str, bytes]]:
    return read_transcripts(site.settings.history, outcome.epoch)


def _ended_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _prover_s(farm: Child) -> float:
    """From the account that the farm gives at its end."""
    last = [line for line in tail(farm.log).splitlines() if line.startswith("{")]
    return float(json.loads(last[-1]).get("prover_s", 0.0)) if last else 0.0
