"""Running one epoch and watching it: the flow works in a process of its own, its phases are read from the state."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from deployments.processes import Child, start, tail
from deployments.sites import REPOSITORY, Site
from flows.edges import load_wallet
from storage.database import migrate, open_database
from storage.records import EpochOutcome, EpochState, Head, Phase, SubnetView, WeightTarget
from storage.state import State
from tasks.edges.chain import Chain, ChainSettings
from tasks.errors import SubnetError, UserError

POLL_S = 0.2
USER_ERROR = 2
"""The exit code of a user's mistake."""
EPOCH_DEADLINE_S = 1_800.0
TASK_RUNS_DEADLINE_S = 8.0


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch came to, as a command shows it."""

    outcome: EpochOutcome
    weights_before: tuple[WeightTarget, ...]
    view: SubnetView | None
    """The subnet after the tempo in which the weights were set; None when that was not waited for."""
    run_url: str


def run_epoch(
    site: Site, watch: Callable[[Iterable[Phase]], None], say: Callable[[str], None]
) -> EpochResult:
    """One epoch from the chain's present one on; raises what kept it from being done."""
    engine = open_database(site.settings.database_url)
    migrate(engine)
    state = State(engine)
    chain = open_chain(site)
    try:
        head = _free_epoch(chain, state, say)
        before = chain.own_weights()
        run_id = _run(site, state, head, watch)
        epoch = _newest_epoch(state, head)
        outcome = None if epoch is None else state.load_outcome(epoch)
        if outcome is None:
            raise SubnetError(f"the epoch from block {head.block} on left nothing in the state")
        view = _after_tempo(chain, outcome, say) if site.settings.is_embedded else None
        return EpochResult(outcome, before, view, site.server.run_url(run_id))
    finally:
        chain.close()
        engine.dispose()


def open_chain(site: Site) -> Chain:
    """The site's chain, for looking at it."""
    settings = site.settings
    return Chain(
        ChainSettings(
            network=settings.network,
            netuid=settings.netuid,
            call_deadline_s=settings.chain_deadline_s,
            cache=settings.cache,
        ),
        wallet=load_wallet(settings),
        substrate_factory=site.substrate,
    )


def _free_epoch(chain: Chain, state: State, say: Callable[[str], None]) -> Head:
    """The chain's present epoch, or the next one when this one is in the archive already."""
    has_said = False
    while True:
        head = chain.head()
        closed = {s.header.epoch for s in state.latest_epochs(2) if s.state is not EpochState.OPEN}
        if head.epoch not in closed:
            return head
        if not has_said:
            wait_s = (50 - head.block % 50) * head.block_time_s
            say(f"epoch {head.epoch} is archived already; epoch {head.epoch + 1} begins in {wait_s:.0f} s")
            has_said = True
        time.sleep(POLL_S)


def _run(site: Site, state: State, head: Head, watch: Callable[[Iterable[Phase]], None]) -> str:
    result = site.folder / "run" / f"epoch-{head.epoch}.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    child = start(
        f"epoch {head.epoch}",
        [
            sys.executable,
            "-m",
            "deployments.run_epoch",
            site.flow,
            site.settings.policy,
            str(result),
        ],
        log=site.folder / "logs" / "epoch.log",
        environment=site.environment,
        folder=REPOSITORY,
    )
    try:
        _follow(child, state, head, watch)
        told = _read(result, child)
    finally:
        child.stop()
        result.unlink(missing_ok=True)
    if told["error"] is not None:
        kind = UserError if child.process.returncode == USER_ERROR else SubnetError
        raise kind(str(told["error"]))
    return str(told["flow_run_id"])


def _follow(child: Child, state: State, head: Head, watch: Callable[[Iterable[Phase]], None]) -> None:
    end = time.monotonic() + EPOCH_DEADLINE_S
    is_over = False
    while not is_over:
        is_over = child.process.poll() is not None or time.monotonic() >= end
        epoch = _newest_epoch(state, head)
        if epoch is not None:
            watch(state.read_phases(epoch))
        if not is_over:
            time.sleep(POLL_S)


def _newest_epoch(state: State, head: Head) -> int | None:
    """The epoch that was begun since the chain stood at `head`: blocks go on while the process starts."""
    return next((s.header.epoch for s in state.latest_epochs(1) if s.header.epoch >= head.epoch), None)


def _read(result: Path, child: Child) -> dict[str, object]:
    with suppress(OSError, ValueError):
        told = json.loads(result.read_text(encoding="utf-8"))
        if isinstance(told, dict):
            return told
    raise SubnetError(f"{child.name} ended without a result; the end of {child.log}:\n{tail(child.log)}")


def _after_tempo(chain: Chain, outcome: EpochOutcome, say: Callable[[str], None]) -> SubnetView | None:
    """The subnet once the tempo in which the weights were set is over: then they are paid."""
    if outcome.weight_outcome is None or not outcome.weight_outcome.landed:
        return None
    head = chain.head()
    if head.last_epoch_block <= outcome.weight_outcome.block:
        wait_s = max(0.0, (head.next_epoch_block - head.block) * head.block_time_s)
        say(f"waiting {wait_s:.0f} s for the end of the tempo, when the chain pays by the new weights")
        end = time.monotonic() + wait_s + 30.0
        while chain.head().last_epoch_block <= outcome.weight_outcome.block and time.monotonic() < end:
            time.sleep(POLL_S)
    return chain.view()


def read_outcome(engine: sa.Engine, epoch: int | None) -> EpochOutcome | None:
    """An epoch from the state, the newest one when no number is given."""
    state = State(engine)
    if epoch is None:
        latest = state.latest_epochs(1)
        if not latest:
            return None
        epoch = latest[0].header.epoch
    return state.load_outcome(epoch)
