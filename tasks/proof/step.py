"""The proof as a step: waves of machines, a Prefect task for every shard, which a hand of the crew proves.

executors that may be proved -> waves, each in its slot -> (start prover, converse through the wave's gates) ->
verdicts of a shard together
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from storage.records import Executor, Head, HostReport, Verdict
from tasks.crew.opening import hands_for
from tasks.crew.orders import Proving
from tasks.epoch import EpochRun, Shard, shards
from tasks.errors import ChainAway
from tasks.inspection.models import find, sku
from tasks.proof.challenge import proof_kind
from tasks.proof.planning import plan_waves
from tasks.proof.population import Population, SkuKey
from tasks.proof.proving import ASSEMBLY_S
from tasks.proof.slots import place_of, turns
from tasks.proof.wave import gate_limits_s
from tasks.stepping import step
from tasks.strangers import hurried

IDLE_S = 120.0
"""A session that would wait longer for its wave is closed, and opened again then: its lifetime is bounded."""


class ShardOfWave(Shard):
    """A shard of machines that are with one hand, with the wave that they share with all others."""

    def __init__(self, shard: Shard, wave: int, reports: dict[str, HostReport]) -> None:
        super().__init__(shard.number, shard.executors)
        self.wave, self.reports = wave, reports


async def prove(
    run: EpochRun, executors: Sequence[Executor], reports: Sequence[HostReport]
) -> tuple[Verdict, ...]:
    """Verdicts of all machines that inspection lets through; those that a run that died has left are kept."""
    by_key = {r.executor_key: r for r in reports if r.may_be_proved}
    kept = {key: run.kept.verdicts[key] for key, r in by_key.items() if run.kept.reports.get(key) == r}
    provable = [e for e in executors if e.key in by_key]
    waiting = [e for e in provable if e.key not in kept]
    run.progress.begin("proof", len(waiting))
    found = kept | await _prove_all(run, waiting, by_key)
    verdicts = tuple(found[e.key] for e in provable if e.key in found)
    proved = [v for v in verdicts if v.proved]
    cards = sum(len(v.cards) for v in proved)
    run.progress.end(f"{len(proved)} of {len(provable)} machines proved, {cards} cards")
    return verdicts


_Due = tuple[tuple[Executor, ...], float]
"""A wave's machines, and the instant at which it may begin."""


async def _prove_all(
    run: EpochRun, provable: Sequence[Executor], reports: dict[str, HostReport]
) -> dict[str, Verdict]:
    """Every wave in its slot, for as long as the phase lasts.

    Who is busy is not asked again in this epoch: alone, later, it could fill a card that another listing has just had.
    """
    until = run.clock() + run.policy.proof.phase_s
    verdicts: dict[str, Verdict] = {}
    waves = await asyncio.to_thread(_timetable, run, provable)
    for at, (members, begin_at) in enumerate(waves):
        if begin_at <= until and await _wait(run, waves[at:], until):
            verdicts |= await _prove_wave(run, members, reports, attempt=1)
    return verdicts


def _timetable(run: EpochRun, provable: Sequence[Executor]) -> list[_Due]:
    """The waves in the order in which they are due, each with the instant at which it may begin."""
    waves = plan_waves(provable, run.view.head.block_hash, run.edges.max_sessions)
    policy, now, place, head = run.policy.proof, run.clock(), 0, run.view.head
    if policy.slot_s > 0:
        head = newest_head(run)
        stakes = [(n.hotkey, n.stake_rao) for n in run.view.neurons if n.has_permit]
        place = place_of(
            run.edges.own_hotkey, stakes, run.first_hash() or run.view.head.block_hash, policy.slots
        )
    return [(waves[turn.wave], now + turn.wait_s) for turn in turns(place, len(waves), head, policy)]


async def _wait(run: EpochRun, waves: Sequence[_Due], until: float) -> bool:
    """Wait for the first one's instant, holding no sessions but of those that begin soon; False when it is past the phase's end."""
    begin_at, soon = waves[0][1], run.clock() + IDLE_S
    kept = tuple(e.key for members, at in waves if at <= soon for e in members)
    await run.hands.keep(kept, is_rest_closed=True)
    wait_s = begin_at - run.clock()
    if wait_s > 0:
        await run.edges.sleep(wait_s)
    return run.clock() <= until


async def _prove_wave(
    run: EpochRun, members: Sequence[Executor], reports: dict[str, HostReport], attempt: int
) -> dict[str, Verdict]:
    """The verdicts of one wave by machine."""
    head = await asyncio.to_thread(newest_head, run)
    await asyncio.to_thread(run.renew_leases)
    await run.hands.hire(hands_for(len(members), run.edges.most_hands))
    size = run.edges.executors_per_shard
    parts = [part for group in run.hands.by_home(members) for part in shards(group, size)]
    limits_s = gate_limits_s(run.policy.proof, ASSEMBLY_S)
    strangers = hurried(members, run.records, run.view.head.block_hash)
    wave = await run.hands.begin_wave(
        members, limits_s, head.block, head.block_hash, attempt, hurried=strangers
    )
    numbered = (Shard(number, part.executors) for number, part in enumerate(parts))
    found = await asyncio.gather(*(prove_shard(run, ShardOfWave(part, wave, reports)) for part in numbered))
    return {verdict.executor_key: verdict for part in found for verdict in part}


def newest_head(run: EpochRun) -> Head:
    """The block that the seeds bind; the epoch's own when the chain is away, since what is fresh in them is ours."""
    try:
        return run.edges.chain.head()
    except ChainAway as error:
        run.note_incident(error)
        return run.view.head


@step("prove", run_name="prove-shard-{shard.number}", deadline_s=900.0)
async def prove_shard(run: EpochRun, shard: ShardOfWave) -> tuple[Verdict, ...]:
    """Have the machines of one shard proved side by side and judged together, and keep the verdicts.

    What is given on is without the transcripts, which are in the state: of ten thousand machines they are gigabytes.
    """
    verdicts = await run.hands.prove(shard.wave, [proving_of(run, shard, e) for e in shard.executors])
    await asyncio.to_thread(run.state.save_verdicts, run.epoch, verdicts)
    return tuple(replace(verdict, transcript=b"") for verdict in verdicts)


def proving_of(run: EpochRun, shard: ShardOfWave, executor: Executor) -> Proving:
    """What a hand needs to know to prove this machine."""
    cards = shard.reports[executor.key].facts.cards
    return Proving(
        executor,
        run.access_to(executor),
        tuple((card.index, card.uuid) for card in cards),
        cards[0].model,
        cards[0].vram_mib,
        proof_kind(executor.key, run.leased_keys),
        _population(run, cards[0].model, cards[0].vram_mib),
    )


def _population(run: EpochRun, listed: str, vram_mib: int) -> Population | None:
    model = find(listed)
    size = sku(model, vram_mib, run.policy.inspection.vram_window) if model else None
    if model is None or size is None:
        return None
    return run.populations.get(SkuKey(model.name, size.nominal_mib))
