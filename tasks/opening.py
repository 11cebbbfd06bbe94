"""Opening an epoch: one pinned snapshot of the chain, the epoch's row taken for this run, what history knows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from importlib.metadata import version

from storage.errors import StorageError
from storage.history import read_arrow, write_epoch
from storage.records import EpochHeader, EpochOutcome, SubnetView
from storage.state import State
from tasks.epoch import Edges, EpochRun, Kept
from tasks.errors import EpochBusy
from tasks.learning import learn
from tasks.policy import Policy, check_policy
from tasks.stepping import step


@step("open", deadline_s=300.0, retries=2)
async def open_epoch(edges: Edges, epoch: int | None, policy: Policy) -> EpochRun:
    """Take `epoch` (None: the one that the chain is in) for this run; EpochBusy when another run has it."""
    check_policy(policy, is_embedded=edges.is_embedded)
    view = await asyncio.to_thread(edges.chain.view)
    if epoch is not None and epoch != view.head.epoch:
        raise EpochBusy(epoch, f"the chain is in epoch {view.head.epoch}, and an epoch is named by its block")
    header = _header(edges, policy, view)
    return await asyncio.to_thread(_open, edges, header, policy, view)


def _header(edges: Edges, policy: Policy, view: SubnetView) -> EpochHeader:
    return EpochHeader(
        epoch=view.head.epoch,
        netuid=view.netuid,
        block=view.head.block,
        block_hash=view.head.block_hash,
        validator_hotkey=edges.own_hotkey,
        policy=policy.name,
        policy_digest=policy.digest(),
        code_version=version("compute-subnet"),
        started_at=datetime.now(UTC),
    )


def _open(edges: Edges, header: EpochHeader, policy: Policy, view: SubnetView) -> EpochRun:
    state = State(edges.engine)
    opening = state.open_epoch(header)
    if not opening.is_ours:
        raise EpochBusy(header.epoch, opening.refusal)
    run = EpochRun(edges, state=state, header=header, policy=policy, view=view, records=state.load_records())
    if opening.is_resumed:
        run.kept = kept_of(state, header.epoch)
    for earlier in opening.unarchived:
        try:
            if (outcome := state.load_outcome(earlier)) is not None:
                archive_closed(edges, state, outcome)
        except StorageError as error:
            # A full disk must not keep the epoch from being worked and weights from being set.
            run.note_incident(error)
    run.populations, trouble = learn(edges.history, state, policy, header.started_at)
    if trouble is not None:
        run.note_incident(trouble)
    return run


def kept_of(state: State, epoch: int) -> Kept:
    """What is saved of the machines that have their verdict in this epoch."""
    executors, reports, verdicts = state.load_proved(epoch)
    return Kept(
        {e.key: e for e in executors},
        {r.executor_key: r for r in reports},
        {v.executor_key: v for v in verdicts},
    )


def archive_closed(edges: Edges, state: State, outcome: EpochOutcome) -> None:
    """Write a closed epoch into the history; repeating it changes nothing.

    Asked only after reading: another run may archive it meanwhile, and what is read later has no transcripts.
    """
    if state.is_archived(outcome.epoch):
        return
    if not _is_older(edges, outcome):
        write_epoch(edges.history, outcome)
    state.mark_archived(outcome.epoch)


def _is_older(edges: Edges, outcome: EpochOutcome) -> bool:
    """Whether the history has the epoch as it ended later: a state of yesterday, put back, knows half of it."""
    try:
        told = read_arrow(edges.history, "epochs", epoch=outcome.epoch, columns=["finished_at"])
    except StorageError:
        return False  # what can't be read is written again
    return any(finished_at > outcome.finished_at for finished_at in told["finished_at"].to_pylist())
