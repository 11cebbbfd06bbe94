"""Weights as a step: what the scores come to, meant first in the state, then set on the chain and read back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from storage.records import BLOCKS_PER_EPOCH, MinerReply, Score, WeightOutcome, WeightStatus, WeightVector
from tasks.epoch import EpochRun
from tasks.errors import NoVerdicts
from tasks.scoring.shares import is_nobody_heard, weight_vector
from tasks.stepping import step


async def set_weights(
    run: EpochRun, replies: Sequence[MinerReply], scores: Sequence[Score]
) -> tuple[WeightVector, WeightOutcome]:
    """The vector, and what became of it; what is meant is kept before it is tried.

    NoVerdicts when nothing at all was found out: then the weights stay as they are.
    """
    run.progress.begin("weights")
    if is_nobody_heard(replies, scores, _known_miners(run)):
        run.is_scored = False  # what our own line has missed counts against nobody
        raise NoVerdicts(len(scores))
    vector = weight_vector(run.epoch, scores, run.view, run.policy.weights)
    await asyncio.to_thread(run.state.save_weights, vector)
    outcome = await submit(run, vector)
    await asyncio.to_thread(run.state.save_weights, vector, outcome)
    run.progress.end(describe(outcome))
    return vector, outcome


def _known_miners(run: EpochRun) -> frozenset[str]:
    """Those with a machine on a run of passed epochs."""
    return frozenset(key.partition("/")[0] for key, r in run.records.items() if r.passed_since is not None)


@step("set-weights", deadline_s=300.0, retries=2)
async def submit(run: EpochRun, vector: WeightVector) -> WeightOutcome:
    """Set the vector once: repeated after a lost connection, it finds what it has set already."""
    return await asyncio.to_thread(
        run.edges.chain.submit_weights,
        vector.targets,
        version_key=run.policy.weights.version_key,
        # Of the epoch, not of this run: what a run that died has set in this epoch is set.
        epoch_began_block=run.header.block - run.header.block % BLOCKS_PER_EPOCH,
    )


def describe(outcome: WeightOutcome) -> str:
    """The outcome in a few words."""
    match outcome.status:
        case WeightStatus.CONFIRMED | WeightStatus.COMMITTED | WeightStatus.ALREADY_SET:
            return f"{outcome.status.value.replace('_', ' ')} at block {outcome.block}"
        case WeightStatus.NOT_YET:
            return f"not yet: the chain allows it in {outcome.retry_after_blocks} blocks; the scores are kept"
        case _:
            return f"{outcome.status.value}: {outcome.code or outcome.message}"
