"""Scoring as a step: what inspection and proof told, with what history knows, becomes one score a machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from storage.records import Executor, HostReport, Score, Verdict
from tasks.epoch import EpochRun
from tasks.scoring.scoring import score_epoch
from tasks.stepping import step


async def score(
    run: EpochRun, executors: Sequence[Executor], reports: Sequence[HostReport], verdicts: Sequence[Verdict]
) -> tuple[Score, ...]:
    """The score of every machine, kept with all its terms and reasons."""
    run.progress.begin("scoring", len(executors))
    scores = await score_machines(run, Found(executors, reports, verdicts))
    run.is_scored = True
    run.progress.step(len(scores))
    run.progress.end(f"{sum(s.score > 0 for s in scores)} of {len(scores)} machines are paid")
    return scores


class Found:
    """What the steps before have found; a plain class, so that Prefect does not walk through it."""

    def __init__(
        self, executors: Sequence[Executor], reports: Sequence[HostReport], verdicts: Sequence[Verdict]
    ) -> None:
        self.executors = executors
        self.reports = reports
        self.verdicts = verdicts


@step("score", deadline_s=120.0)
async def score_machines(run: EpochRun, found: Found) -> tuple[Score, ...]:
    """Score all machines in one frame, and keep what came out."""
    scores = await asyncio.to_thread(
        score_epoch,
        found.executors,
        found.reports,
        found.verdicts,
        records=run.records,
        view=run.view,
        policy=run.policy,
        now=datetime.now(UTC),
        leased_keys=run.leased_keys,
    )
    await asyncio.to_thread(run.state.save_scores, run.epoch, scores)
    return scores
