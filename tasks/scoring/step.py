"""Scoring as a step: what inspection and proof told, with what history knows, becomes one score a machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from storage.records import Executor, Grounds, HostReport, Score, Standing, Verdict
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
    """Keep what scores are made from, score all machines in one frame, and keep what came out."""
    return await asyncio.to_thread(_score, run, found, datetime.now(UTC))


def _score(run: EpochRun, found: Found, now: datetime) -> tuple[Score, ...]:
    grounds = grounds_of(run, found.executors, now)
    run.state.save_grounds(run.epoch, grounds)
    scores = score_epoch(found.executors, found.reports, found.verdicts, grounds, run.policy)
    run.state.save_scores(run.epoch, scores)
    return scores


def grounds_of(run: EpochRun, executors: Iterable[Executor], now: datetime) -> Grounds:
    """Everything that scoring is given beside what this epoch's steps found out."""
    deposits = run.collateral.free_rao()
    return Grounds(
        scored_at=now,
        policy_values=run.policy.to_json(),
        owner_hotkey=run.view.owner_hotkey,
        neurons=run.view.neurons,
        standings=tuple(
            _standing(run, key, deposits.get(key, 0)) for key in sorted(e.key for e in executors)
        ),
        quotes=run.quotes,
        leases=run.leases,
    )


def _standing(run: EpochRun, key: str, deposited_rao: int) -> Standing:
    is_leased = key in run.leased_keys
    ban_code = run.banned_codes.get(key, "") if is_leased else ""
    return Standing(key, run.record_of(key), is_leased, deposited_rao, ban_code=ban_code)
