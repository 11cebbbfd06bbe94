"""Archiving as a step: the epoch is counted into the records, closed, and written as Parquet."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from storage.records import EpochOutcome
from tasks.epoch import EpochRun
from tasks.errors import SubnetError
from tasks.opening import archive_closed
from tasks.recording import next_records, resets_of
from tasks.stepping import step

KEPT_EPOCHS = 288
"""In the state, two days of them; the history keeps all."""
REMEMBERED_EPOCHS = 8_640
"""Epochs for which a machine that is gone keeps its record: 60 days of 50 blocks of 12 s."""


async def archive(run: EpochRun) -> EpochOutcome:
    """Close the epoch with everything that the state knows of it; the history has it afterwards."""
    run.progress.begin("archive")
    return await close(run)


@step("archive", deadline_s=120.0)
async def close(run: EpochRun) -> EpochOutcome:
    """Count, close, write: each can be repeated, and a process that dies in between loses nothing.

    An epoch that our own trouble stopped before its scores is no silence of the machines, and is not counted.
    """
    return await asyncio.to_thread(_close, run)


def _close(run: EpochRun) -> EpochOutcome:
    state = run.state
    state.save_incidents(run.epoch, tuple(run.incidents))
    known = state.load_outcome(run.epoch)
    if known is None:
        raise SubnetError(f"epoch {run.epoch} is not in the state any more")
    run.progress.end(f"Parquet in {run.edges.history}")
    if run.is_scored:
        now = datetime.now(UTC)
        records = next_records(known, run.records, run.policy, now)
        state.finish_counted(run.epoch, records, resets_of(run.records, records, now))
    else:
        state.finish_epoch(run.epoch)
    finished = state.load_end(known)
    archive_closed(run.edges, state, finished)
    state.prune(KEPT_EPOCHS)
    state.forget_records(run.epoch - REMEMBERED_EPOCHS)
    return finished
