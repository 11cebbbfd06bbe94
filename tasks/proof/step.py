"""The proof as a step: waves of machines, a Prefect task for every shard, a thread for every conversation.

executors that may be proved -> waves -> (start prover, converse through the wave's gates) -> verdicts of a shard together
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence

from storage.records import Executor, Head, HostReport, Reason, Severity, Verdict
from tasks.epoch import EpochRun, Shard, shards
from tasks.errors import ChainAway, HostileAnswer, SubnetError
from tasks.inspection.models import find, sku
from tasks.inspection.talk import start_prover
from tasks.proof.archive import prover_archive
from tasks.proof.challenge import Challenge, Origin, challenge_for
from tasks.proof.conversation import Failure, Reply, converse
from tasks.proof.planning import plan_waves
from tasks.proof.reasons import reason
from tasks.proof.verdict import verify_shard
from tasks.proof.wave import MonotonicClock, Wave, gate_limits_s
from tasks.stepping import step

_log = logging.getLogger("subnet.epoch")
CACHE_FOLDER = "~/.cache/subnet"
"""Where a machine keeps the prover and its compiled kernels: the only files that a proof leaves."""
ASSEMBLY_S = 60.0
"""For starting the provers of a wave: the first time, a machine compiles its kernels."""
WARM_UP_S = 40.0
"""Of it, for compiling and loading a card's kernels. A machine that needs longer goes on after GO, before READY."""


class ShardOfWave(Shard):
    """A shard, with the wave that its machines share with all others."""

    def __init__(self, shard: Shard, wave: Wave, head: Head, reports: dict[str, HostReport]) -> None:
        super().__init__(shard.number, shard.executors)
        self.wave = wave
        self.head = head
        self.reports = reports


async def prove(
    run: EpochRun, executors: Sequence[Executor], reports: Sequence[HostReport]
) -> tuple[Verdict, ...]:
    """Verdicts of all machines that inspection lets through."""
    by_key = {r.executor_key: r for r in reports if r.may_be_proved}
    provable = [e for e in executors if e.key in by_key]
    run.progress.begin("proof", len(provable))
    verdicts: list[Verdict] = []
    for members in plan_waves(provable, run.view.head.block_hash, run.edges.max_sessions):
        verdicts += await _prove_wave(run, members, by_key)
    proved = [v for v in verdicts if v.proved]
    cards = sum(len(v.cards) for v in proved)
    run.progress.end(f"{len(proved)} of {len(provable)} machines proved, {cards} cards")
    return tuple(verdicts)


async def _prove_wave(
    run: EpochRun, members: Sequence[Executor], reports: dict[str, HostReport]
) -> list[Verdict]:
    head = await asyncio.to_thread(newest_head, run)
    limits = gate_limits_s(run.policy.proof, ASSEMBLY_S)
    wave = Wave((e.key for e in members), limits, MonotonicClock())
    parts = await asyncio.gather(
        *(
            prove_shard(run, ShardOfWave(shard, wave, head, reports))
            for shard in shards(members, run.edges.executors_per_shard)
        )
    )
    return [verdict for part in parts for verdict in part]


def newest_head(run: EpochRun) -> Head:
    """The block that the seeds bind; the epoch's own when the chain is away, since what is fresh in them is ours."""
    try:
        return run.edges.chain.head()
    except ChainAway as error:
        run.note_incident(error)
        return run.view.head


@step("prove", run_name="prove-shard-{shard.number}", deadline_s=900.0)
async def prove_shard(run: EpochRun, shard: ShardOfWave) -> tuple[Verdict, ...]:
    """Converse with the machines of one shard side by side, then judge them together."""
    loop = asyncio.get_running_loop()

    async def one(executor: Executor) -> tuple[Challenge, Reply | Failure]:
        try:
            return await loop.run_in_executor(run.pool, _converse, run, shard, executor)
        except Exception as error:  # noqa: BLE001  a machine that finds a fault of ours costs only itself
            _log.exception("the proof of %s failed", executor.key)
            why = reason("PROVER_LOST", Severity.NO_VERDICT, f"ours: {type(error).__name__}", "a proof")
            return _challenge(run, shard, executor), Failure(why, "start", None, 0)
        finally:
            run.progress.step()

    try:
        told = await asyncio.gather(*(one(executor) for executor in shard.executors))
    finally:
        run.release(e.key for e in shard.executors)
    verdicts = await asyncio.to_thread(verify_shard, told)
    await asyncio.to_thread(run.state.save_verdicts, run.epoch, verdicts)
    return tuple(verdicts)


def _converse(run: EpochRun, shard: ShardOfWave, executor: Executor) -> tuple[Challenge, Reply | Failure]:
    """One machine's part of the wave; what goes wrong before GO takes it out of the wave too."""
    with shard.wave.seat(executor.key):
        challenge = _challenge(run, shard, executor)
        session = run.session_of(executor.key)
        try:
            content, form = prover_archive().content, run.policy.proof.form
            deadline = shard.wave.deadline(0)
            start_prover(session, content, CACHE_FOLDER, form, WARM_UP_S, deadline=deadline)
        except SubnetError as error:
            return challenge, Failure(_not_started(error), "start", None, session.bytes_received)
        clock, policy = MonotonicClock(), run.policy.proof
        return challenge, converse(session, challenge, shard.wave, clock, policy, secrets.token_bytes)


def _challenge(run: EpochRun, shard: ShardOfWave, executor: Executor) -> Challenge:
    cards = shard.reports[executor.key].facts.cards
    model = find(cards[0].model)
    size = sku(model, cards[0].vram_mib, run.policy.inspection.vram_window) if model else None
    if size is None:
        raise AssertionError(f"{executor.key}: inspection lets no unknown model through")
    origin = Origin(
        netuid=run.view.netuid,
        block=shard.head.block,
        block_hash=shard.head.block_hash,
        validator_hotkey=run.edges.own_hotkey,
        miner_hotkey=executor.miner_hotkey,
        executor_id=executor.executor_id,
        attempt=1,
    )
    return challenge_for(
        origin, size, [(c.index, c.uuid) for c in cards], run.policy.proof, secrets.token_bytes
    )


def _not_started(error: SubnetError) -> Reason:
    severity = Severity.FAIL if isinstance(error, HostileAnswer) else Severity.NO_VERDICT
    return reason("PROVER_LOST", severity, f"start: {error}"[:200], "a prover that starts")
