"""Telling every miner what the epoch came to for its machines: scores with all terms, reasons with their mend.

It goes out once the epoch is archived, signed like every request to a miner's door. Whoever does not take it, or is
away, costs one bounded wait and nothing else: the archive has it all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pydantic import ValidationError

from storage.records import EpochOutcome, ExecutorRecord, MinerReply, Reason, Score
from tasks.edges import wire
from tasks.epoch import EpochRun
from tasks.scoring.reading import terms_of
from tasks.stepping import step

_log = logging.getLogger("subnet.epoch")
PARALLEL = 64
TELLING_S = 45.0
"""For all miners together."""
MAX_REASONS = 32
TEXT_CHARS = 230


@step("tell", deadline_s=60.0)
async def tell(run: EpochRun, outcome: EpochOutcome) -> int:
    """Tell the miners that have answered in this epoch; how many took it."""
    neurons = {neuron.hotkey: neuron for neuron in run.view.neurons}
    parts = await asyncio.to_thread(by_miner, outcome)
    bare = replace(outcome, scores=(), reports=(), grounds=None)
    slots = asyncio.Semaphore(PARALLEL)

    async def one(reply: MinerReply) -> bool:
        async with slots:
            try:
                results = await asyncio.to_thread(results_of, parts.get(reply.hotkey, bare), reply)
            except ValidationError:
                _log.exception("the results of %s fit no door", reply.hotkey)
                return False
            return await run.edges.peers.tell(neurons[reply.hotkey], results)

    heard = [one(r) for r in outcome.replies if r.evidence and r.hotkey in neurons] if outcome.scores else []
    try:
        async with asyncio.timeout(TELLING_S):
            took = sum(await asyncio.gather(*heard))
    except TimeoutError:
        took = 0
    _log.info("epoch %s: %s of %s miners took their results", run.epoch, took, len(heard))
    return took


def by_miner(outcome: EpochOutcome) -> dict[str, EpochOutcome]:
    """The epoch for each miner that has a score, with no other miner's machines in it."""
    scores, reports, standings = defaultdict(list), defaultdict(list), defaultdict(list)
    for score in outcome.scores:
        scores[score.miner_hotkey].append(score)
    for report in outcome.reports:
        reports[report.executor_key.partition("/")[0]].append(report)
    for standing in outcome.grounds.standings if outcome.grounds else ():
        standings[standing.executor_key.partition("/")[0]].append(standing)
    return {
        hotkey: replace(
            outcome,
            scores=tuple(own),
            reports=tuple(reports[hotkey]),
            grounds=outcome.grounds and replace(outcome.grounds, standings=tuple(standings[hotkey])),
        )
        for hotkey, own in scores.items()
    }


def results_of(outcome: EpochOutcome, reply: MinerReply) -> wire.Results:
    """What the epoch came to for one miner, cut to what its door takes."""
    standings = outcome.grounds.standings if outcome.grounds else ()
    records = {standing.executor_key: standing.record for standing in standings}
    listed = {r.executor_key: tuple(card.uuid for card in r.facts.cards) for r in outcome.reports}
    machines = [
        machine_result(score, records.get(score.executor_key), listed.get(score.executor_key, ()))
        for score in outcome.scores
        if score.miner_hotkey == reply.hotkey
    ]
    scored_at = outcome.grounds.scored_at if outcome.grounds else outcome.started_at
    told = wire.Results(
        epoch=outcome.epoch,
        policy=wire.plain(outcome.policy, 60),
        scored_at=int(scored_at.timestamp()),
        weight=_weight(outcome, reply.hotkey),
        reasons=tuple(_told(reply.reasons)),
    )
    return _that_fit(told, machines[: wire.MAX_EXECUTORS])


def machine_result(
    score: Score, record: ExecutorRecord | None, listed: tuple[str, ...] = ()
) -> wire.MachineResult:
    """One machine's bill: every number that its score is made from, every reason.

    From its first passed epoch on a machine is held to the cards that it listed.
    """
    known = record or ExecutorRecord(score.executor_key)
    held_to = known.card_uuids or known.announced_uuids or (listed if score.passed > 0 else ())
    return wire.MachineResult(
        executor_id=score.executor_key.partition("/")[2],
        score=score.score,
        terms=terms_of(score),
        cards=held_to[:16],
        passed_since=int(known.passed_since.timestamp()) if known.passed_since else None,
        resets=known.resets,
        reset_at=int(known.reset_at.timestamp()) if known.reset_at else None,
        reset_code=known.reset_code,
        reasons=tuple(_told(score.reasons)),
    )


def _told(reasons: Iterable[Reason]) -> Iterator[wire.ToldReason]:
    """Those that decide first; foreign text as plain ASCII."""
    for reason in sorted(reasons, key=lambda r: not r.decides)[:MAX_REASONS]:
        got, wanted, mend = (wire.plain(t, TEXT_CHARS) for t in (reason.got, reason.wanted, reason.mend))
        yield wire.ToldReason(
            code=reason.code,
            severity=reason.severity.value,
            got=got,
            wanted=wanted,
            mend=mend,
            is_shadow=reason.is_shadow,
        )


def _weight(outcome: EpochOutcome, hotkey: str) -> float | None:
    if outcome.weights is None:
        return None
    return min(1.0, sum(target.weight for target in outcome.weights.targets if target.hotkey == hotkey))


def _that_fit(told: wire.Results, machines: list[wire.MachineResult]) -> wire.Results:
    """With as many machines as the door's limit of bytes leaves room for, in their order."""
    room = wire.MAX_RESULTS_BYTES - len(told.model_dump_json()) - 64
    kept = 0
    for machine in machines:
        room -= len(machine.model_dump_json()) + 1
        if room < 0:
            break
        kept += 1
    return told.model_copy(update={"machines": tuple(machines[:kept]), "left_out": len(machines) - kept})
