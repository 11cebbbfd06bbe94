"""The end of an epoch: whom it counts for, and what the state keeps."""

import asyncio
from dataclasses import replace

import pytest

from storage.history import read_epoch
from storage.records import EpochState, ExecutorRecord
from storage.state import State
from tasks.archiving import close
from tests.tasks.inspection.runs import HEADER, NOON, edges_in, run_over

ON_A_RUN = ExecutorRecord("5Miner/one", NOON, 5, 5, 5, NOON, no_verdicts_in_a_row=1)


@pytest.mark.parametrize("is_scored", [True, False])
def test_our_own_trouble_is_nobodys_silence(tmp_path, is_scored):
    """A machine that a whole epoch heard nothing of loses its run; one that we stopped before its scores counts for nobody."""

    records = {ON_A_RUN.executor_key: ON_A_RUN}
    with edges_in(tmp_path) as edges, run_over(edges, records=records) as run:
        run.is_scored = is_scored
        outcome = asyncio.run(close(run))
        known = run.state.load_records()

    assert outcome.epoch == HEADER.epoch
    assert [r.passed_since for r in known.values()] == ([None] if is_scored else [])


@pytest.mark.parametrize("is_scored", [True, False])
def test_the_archive_has_the_epoch_as_it_ended(tmp_path, is_scored):
    """It is finished there, too: what was read before the end has got all that the end has added."""

    with edges_in(tmp_path) as edges, run_over(edges) as run:
        run.is_scored = is_scored
        outcome = asyncio.run(close(run))

        assert outcome == run.state.load_outcome(HEADER.epoch)
    assert read_epoch(tmp_path / "history", HEADER.epoch) == outcome
    assert outcome.state is EpochState.FINISHED


def test_the_state_keeps_the_newest_epochs_only(tmp_path, monkeypatch):
    """What is archived and old leaves the state when an epoch ends; the history keeps all."""

    monkeypatch.setattr("tasks.archiving.KEPT_EPOCHS", 2)
    with edges_in(tmp_path) as edges:
        for epoch in range(3):
            state = State(edges.engine)
            state.open_epoch(replace(HEADER, epoch=epoch))
            state.finish_epoch(epoch)
            state.mark_archived(epoch)
        with run_over(edges) as run:
            asyncio.run(close(run))
            kept = [summary.header.epoch for summary in run.state.latest_epochs(10)]

    assert kept == [7, 2]
