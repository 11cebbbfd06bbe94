"""Weights after they were set: those in doubt are looked for on the chain, those that were taken are followed.

weights in doubt (a run died, a result was lost) -> the chain has them | no sign of them: their scores are kept
weights that were set -> one and two tempos later our row is what was meant | an incident
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from storage.records import (
    BLOCKS_PER_EPOCH,
    Event,
    Landing,
    LandingState,
    Look,
    Reason,
    Severity,
    WeightOutcome,
    WeightStatus,
    WeightTarget,
    WeightVector,
)
from tasks.epoch import EpochRun
from tasks.scoring.landing import look
from tasks.stepping import step

DOUBTS = 16
"""So many vectors at most are looked for: older ones are settled by what came after them."""
FOUND = "WEIGHTS_FOUND"
"""The event of weights that a run had set that died."""
IS_SET = frozenset({WeightStatus.CONFIRMED, WeightStatus.COMMITTED, WeightStatus.ALREADY_SET})


@step("settle-weights", deadline_s=120.0, retries=2)
async def settle(run: EpochRun) -> tuple[WeightVector, WeightOutcome] | None:
    """Look for what earlier runs meant to set; what this very epoch has set already, None when it has not.

    The chain is read before anything is made or sent: a run that died after sending has paid its scores.
    """
    return await asyncio.to_thread(_settle, run)


def _settle(run: EpochRun) -> tuple[WeightVector, WeightOutcome] | None:
    for vector in _possible(run, run.state.weights_in_doubt(run.epoch, DOUBTS)):
        found = run.edges.chain.find_weights(
            vector.targets,
            version_key=run.policy.weights.version_key,
            epoch_began_block=began_block(run, vector.epoch),
        )
        if found is not None and run.state.settle_weights(vector, found, _found(vector, found)):
            follow(run, vector, found)
            break  # it is the newest that the chain has: what was meant before it is settled with it
    _follow_newest(run)
    ours, outcome = run.state.meant_weights(run.epoch)
    return (ours, outcome) if ours and outcome and outcome.status in IS_SET else None


def _possible(run: EpochRun, doubts: Sequence[WeightVector]) -> list[WeightVector]:
    """Those since which our row has changed at all: after a night without the chain, one question instead of many."""
    me = run.edges.chain.view().by_hotkey(run.edges.own_hotkey) if doubts else None
    return [v for v in doubts if me is not None and me.last_update_block >= began_block(run, v.epoch)]


def _follow_newest(run: EpochRun) -> None:
    """A run may have died between knowing that its weights were set and beginning to follow them."""
    newest = run.state.last_set_epoch(run.epoch + 1)
    vector, outcome = (None, None) if newest is None else run.state.meant_weights(newest)
    if vector and outcome:
        follow(run, vector, outcome)


def began_block(run: EpochRun, epoch: int) -> int:
    """The block from which on our row can be this epoch's: its first, and after the last weights that are known to be set."""
    return max(epoch * BLOCKS_PER_EPOCH, run.state.last_set_block(epoch) + 1)


def _found(vector: WeightVector, found: WeightOutcome) -> Event:
    message = f"weights of a run that died were found on the chain, set at block {found.block}"
    return Event(datetime.now(UTC), FOUND, f"epoch {vector.epoch}", message)


def found_epoch(subject: str) -> int:
    """The epoch that an event of found weights is about."""
    return int(subject.removeprefix("epoch "))


def follow(run: EpochRun, vector: WeightVector, outcome: WeightOutcome) -> None:
    """Begin to follow weights that the chain has taken; done twice, it changes nothing."""
    if outcome.status not in IS_SET:
        return
    is_sealed = outcome.status is WeightStatus.COMMITTED
    seen = None if is_sealed else outcome.block
    tempo_blocks = run.view.head.tempo * (run.view.reveal_period_tempos if is_sealed else 1)
    run.state.follow_weights(Landing(vector.epoch, outcome.block, tempo_blocks, is_sealed, seen))


@step("look-at-weights", deadline_s=120.0, retries=2)
async def look_at_weights(run: EpochRun) -> tuple[Look, ...]:
    """Compare our row with all weights that are followed; a difference is an incident of this epoch."""
    return await asyncio.to_thread(_look, run)


def _look(run: EpochRun) -> tuple[Look, ...]:
    followed = run.state.open_landings()
    if not followed:
        return ()
    head, landed = run.edges.chain.own_row()
    looks = []
    for landing, successor in zip(followed, (*followed[1:], None), strict=True):
        vector, outcome = run.state.meant_weights(landing.epoch)
        if vector is None or outcome is None:
            continue
        meant, row = _meant(run, vector, outcome), _shares(landed)
        seen = look(landing, meant, row, head.block, is_superseded=successor is not None)
        if run.state.save_look(seen, _ended(seen)) and seen.state is LandingState.DIFFERS:
            run.incidents.append(differs(seen))
        looks.append(Look(seen, meant, row))
    return tuple(looks)


def _meant(run: EpochRun, vector: WeightVector, outcome: WeightOutcome) -> dict[int, float]:
    """What must be on the chain: what was read back, or of sealed weights what was sent."""
    if outcome.status is not WeightStatus.COMMITTED:
        return _shares(outcome.landed)
    gone = frozenset(outcome.dropped_hotkeys)
    return _shares(run.edges.chain.as_sent([t for t in vector.targets if t.hotkey not in gone]))


def _shares(targets: Iterable[WeightTarget]) -> dict[int, float]:
    return {target.uid: target.weight for target in targets}


def _ended(seen: Landing) -> Event | None:
    if seen.state is LandingState.OPEN:
        return None
    message = {
        LandingState.LANDED: f"what was meant was on the chain, last seen at block {seen.seen_block}",
        LandingState.DIFFERS: f"{seen.difference:.1%} of the emission goes elsewhere than meant",
        LandingState.UNSEEN: "nobody looked in time",
    }[seen.state]
    return Event(datetime.now(UTC), f"WEIGHTS_{seen.state.name}", f"epoch {seen.epoch}", message)


def differs(seen: Landing) -> Reason:
    """The incident of weights that are not what was meant."""
    return Reason(
        "WEIGHTS_DIFFER",
        Severity.NO_VERDICT,
        f"our row differs from the weights of epoch {seen.epoch}, set at block {seen.set_block}: "
        f"{seen.difference:.1%} of the emission goes elsewhere",
        "the row that was meant, one and two tempos later",
        "See that no other process sets weights with this hotkey, and that the subnet reveals commits.",
    )
