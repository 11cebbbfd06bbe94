"""Weights as a step: what the scores since the last weights come to, meant first in the state, then set and read back.

    weights in doubt settled -> row looked at -> scores since the last weights added up -> meant -> set -> followed

Nothing of it lives in memory: a run that dies at any line leaves the next one to find, on the chain or in the state,
how far it came. Weights are set once a tempo; scores that are not set yet are kept in the archive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from storage.records import MinerReply, Score, WeightOutcome, WeightStatus, WeightVector
from tasks.epoch import EpochRun
from tasks.errors import NoVerdicts
from tasks.landing import began_block, follow, look_at_weights, settle
from tasks.scoring.shares import Ground, is_nobody_heard, weight_vector
from tasks.stepping import step
from tasks.unpaid import unpaid


async def set_weights(
    run: EpochRun, replies: Sequence[MinerReply], scores: Sequence[Score]
) -> tuple[WeightVector, WeightOutcome]:
    """The vector, and what became of it; what is meant is kept before it is tried.

    NoVerdicts when nothing at all was found out: then the weights stay as they are.
    """
    run.progress.begin("weights")
    done = await settle(run)
    run.looks = await look_at_weights(run)
    if done is not None:
        run.progress.end(describe(done[1]))
        return done
    if is_nobody_heard(replies, scores, _known_miners(run)):
        run.is_scored = False  # what our own line has missed counts against nobody
        raise NoVerdicts(len(scores))
    vector = await asyncio.to_thread(mean, run, scores)
    outcome = await submit(run, vector)
    await asyncio.to_thread(_keep, run, vector, outcome)
    run.progress.end(describe(outcome))
    return vector, outcome


async def were_set(run: EpochRun) -> bool:
    """Whether a run that died has set this epoch's weights: then its scores are made, and the epoch only has to be closed.

    Scores that were made again would not be those that were paid.
    """
    vector, _ = await asyncio.to_thread(run.state.meant_weights, run.epoch)
    if vector is None or await settle(run) is None:
        return False
    run.is_scored = True
    run.looks = await look_at_weights(run)
    return True


def mean(run: EpochRun, scores: Sequence[Score]) -> WeightVector:
    """The vector of this epoch's scores and of those that no weights have paid yet, kept in the state."""
    first, earned = unpaid(run)
    vector = weight_vector(run.epoch, [*earned, *scores], Ground.of(run.view), run.policy.weights, first)
    run.state.save_weights(vector)
    return vector


def _keep(run: EpochRun, vector: WeightVector, outcome: WeightOutcome) -> None:
    run.state.save_weights(vector, outcome)
    follow(run, vector, outcome)


def _known_miners(run: EpochRun) -> frozenset[str]:
    """Those with a machine on a run of passed epochs."""
    return frozenset(key.partition("/")[0] for key, r in run.records.items() if r.passed_since is not None)


@step("set-weights", deadline_s=300.0, retries=2)
async def submit(run: EpochRun, vector: WeightVector) -> WeightOutcome:
    """Set the vector once: repeated after a lost connection, it finds what it has set already."""
    began = await asyncio.to_thread(began_block, run, run.epoch)
    return await asyncio.to_thread(
        run.edges.chain.submit_weights,
        vector.targets,
        version_key=run.policy.weights.version_key,
        # Of the epoch, not of this run: what a run that died has set in this epoch is set.
        epoch_began_block=began,
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
