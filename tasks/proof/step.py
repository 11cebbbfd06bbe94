"""The proof as a step: waves of machines, a Prefect task for every shard, a thread for every conversation.

executors that may be proved -> waves, each in its slot -> (start prover, converse through the wave's gates) ->
verdicts of a shard together -> once more those whose cards another validator held
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from storage.claims import Claims
from storage.records import Executor, Head, HostReport, Reason, Severity, Verdict
from tasks.edges.shell import Session
from tasks.edges.signing import is_signed_by, sign_statement
from tasks.epoch import EpochRun, Shard, shards
from tasks.errors import ChainAway, HostileAnswer, RunnerRefused, SubnetError
from tasks.inspection.models import find, sku
from tasks.inspection.talk import start_prover, start_runner
from tasks.proof.archive import prover_archive
from tasks.proof.busy import Notary, own_proof
from tasks.proof.challenge import Challenge, Origin, ProofKind, challenge_for, proof_kind
from tasks.proof.conversation import Failure, Reply, converse
from tasks.proof.planning import plan_waves
from tasks.proof.population import SkuKey
from tasks.proof.reasons import reason
from tasks.proof.slots import permitted, place_of, turns
from tasks.proof.verdict import verify_shard
from tasks.proof.wave import MonotonicClock, Wave, gate_limits_s
from tasks.shadow import verdict_in_shadow
from tasks.stepping import step

_log = logging.getLogger("subnet.epoch")
CACHE_FOLDER = "~/.cache/subnet"
"""Where a machine keeps the prover and its compiled kernels: the only files that a proof leaves."""
ASSEMBLY_S = 60.0
"""For starting the provers of a wave: the first time, a machine compiles its kernels."""
WARM_UP_S = 40.0
"""Of it, for compiling and loading a card's kernels. A machine that needs longer goes on after GO, before READY."""
IDLE_S = 120.0
"""A session that would wait longer for its wave is closed, and opened again then: its lifetime is bounded."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What all machines of a wave have in common."""

    wave: Wave
    head: Head
    attempt: int
    notary: Notary


class ShardOfWave(Shard):
    """A shard, with the wave that its machines share with all others."""

    def __init__(self, shard: Shard, occasion: Occasion, reports: dict[str, HostReport]) -> None:
        super().__init__(shard.number, shard.executors)
        self.occasion = occasion
        self.reports = reports

    @property
    def wave(self) -> Wave:
        """The wave of all shards."""
        return self.occasion.wave


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


async def _prove_all(
    run: EpochRun, provable: Sequence[Executor], reports: dict[str, HostReport]
) -> dict[str, Verdict]:
    """Every wave in its slot, for as long as the phase lasts.

    Who is busy is not asked again in this epoch: alone, later, it could fill a card that another listing has just had.
    """
    until = run.clock() + run.policy.proof.phase_s
    verdicts: dict[str, Verdict] = {}
    for members, begin_at in await asyncio.to_thread(_timetable, run, provable):
        if begin_at <= until and await _wait(run, members, begin_at, until):
            verdicts |= await _prove_wave(run, members, reports, attempt=1)
    return verdicts


def _timetable(run: EpochRun, provable: Sequence[Executor]) -> list[tuple[tuple[Executor, ...], float]]:
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


async def _wait(run: EpochRun, members: Iterable[Executor], begin_at: float, until: float) -> bool:
    """Wait for a wave's instant, holding no more sessions than it needs; False when it is past the phase's end."""
    wait_s = begin_at - run.clock()
    await asyncio.to_thread(run.release_but, () if wait_s > IDLE_S else [e.key for e in members])
    if wait_s > 0:
        await run.edges.sleep(wait_s)
    return run.clock() <= until


async def _prove_wave(
    run: EpochRun, members: Sequence[Executor], reports: dict[str, HostReport], attempt: int
) -> dict[str, Verdict]:
    """The verdicts of one wave by machine."""
    head = await asyncio.to_thread(newest_head, run)
    await asyncio.to_thread(run.renew_leases)
    limits = gate_limits_s(run.policy.proof, ASSEMBLY_S)
    wave = Wave((e.key for e in members), limits, MonotonicClock())
    occasion = Occasion(wave, head, attempt, notary_of(run))
    parts = await asyncio.gather(
        *(
            prove_shard(run, ShardOfWave(shard, occasion, reports))
            for shard in shards(members, run.edges.executors_per_shard)
        )
    )
    return {verdict.executor_key: verdict for part in parts for verdict in part}


def notary_of(run: EpochRun) -> Notary:
    """Statements in our name, and those of all who may validate by the epoch's snapshot."""
    claims = Claims(run.edges.engine)
    return Notary(
        sign=partial(sign_statement, run.edges.peers.signer),
        is_signed_by=is_signed_by,
        permitted=permitted(run.view),
        now=time.time,
        is_ours_elsewhere=lambda key: own_proof(key) in claims.held(datetime.now(UTC)),
    )


def newest_head(run: EpochRun) -> Head:
    """The block that the seeds bind; the epoch's own when the chain is away, since what is fresh in them is ours."""
    try:
        return run.edges.chain.head()
    except ChainAway as error:
        run.note_incident(error)
        return run.view.head


@step("prove", run_name="prove-shard-{shard.number}", deadline_s=900.0)
async def prove_shard(run: EpochRun, shard: ShardOfWave) -> tuple[Verdict, ...]:
    """Converse with the machines of one shard side by side, then judge them together.

    What is given on is without the transcripts, which are in the state: of ten thousand machines they are gigabytes.
    """
    loop = asyncio.get_running_loop()

    async def one(executor: Executor) -> tuple[Challenge, Reply | Failure] | None:
        challenge: Challenge | None = None
        try:
            challenge = _challenge(run, shard, executor)
            reply = await loop.run_in_executor(run.pool, _converse, run, shard, executor, challenge)
        except Exception as error:  # noqa: BLE001  a machine that finds a fault of ours costs only itself
            _log.exception("the proof of %s failed", executor.key)
            shard.wave.leave(executor.key)
            why = reason("PROVER_LOST", Severity.NO_VERDICT, f"ours: {type(error).__name__}", "a proof")
            return None if challenge is None else (challenge, Failure(why, "start", None, 0))
        else:
            return challenge, reply
        finally:
            if shard.occasion.attempt == 1:
                run.progress.step()

    try:
        told = [t for t in await asyncio.gather(*(one(e) for e in shard.executors)) if t is not None]
    finally:
        run.release(e.key for e in shard.executors)
    judged = await asyncio.to_thread(verify_shard, told)
    verdicts = [verdict_in_shadow(verdict, run.policy.shadow) for verdict in judged]
    await asyncio.to_thread(run.state.save_verdicts, run.epoch, verdicts)
    return tuple(replace(verdict, transcript=b"") for verdict in verdicts)


def _converse(run: EpochRun, shard: ShardOfWave, executor: Executor, challenge: Challenge) -> Reply | Failure:
    """One machine's part of the wave; what goes wrong before GO takes it out of the wave too."""
    with shard.wave.seat(executor.key):
        session: Session | None = None
        try:
            deadline, content = shard.wave.deadline(0), prover_archive().content
            session = _session(run, executor, deadline)
            # A renter's cards are not practised on.
            warm_s = 0.0 if challenge.kind is ProofKind.LEASED else WARM_UP_S
            start_prover(session, content, CACHE_FOLDER, run.policy.proof.form, warm_s, deadline=deadline)
        except SubnetError as error:
            received = session.bytes_received if session else 0
            return Failure(not_started(error), "start", None, received)
        clock, policy, notary = MonotonicClock(), run.policy.proof, shard.occasion.notary
        return converse(session, challenge, shard.wave, clock, policy, secrets.token_bytes, notary)


def _session(run: EpochRun, executor: Executor, deadline: float) -> Session:
    """The one that inspection has left open, or a new one where it could not be kept so long."""
    session = run.session_of(executor.key)
    if session is None:
        run.release([executor.key])
        session = run.edges.shell.open(executor, run.key_for(executor), deadline=deadline)
        run.hold(executor, session)
        start_runner(session, deadline=deadline)
    return session


def _challenge(run: EpochRun, shard: ShardOfWave, executor: Executor) -> Challenge:
    cards = shard.reports[executor.key].facts.cards
    model = find(cards[0].model)
    size = sku(model, cards[0].vram_mib, run.policy.inspection.vram_window) if model else None
    if model is None or size is None:
        raise AssertionError(f"{executor.key}: inspection lets no unknown model through")
    origin = Origin(
        netuid=run.view.netuid,
        block=shard.occasion.head.block,
        block_hash=shard.occasion.head.block_hash,
        validator_hotkey=run.edges.own_hotkey,
        miner_hotkey=executor.miner_hotkey,
        executor_id=executor.executor_id,
        attempt=shard.occasion.attempt,
    )
    kind = proof_kind(executor.key, run.leased_keys)
    return challenge_for(
        origin,
        size,
        [(c.index, c.uuid) for c in cards],
        run.policy.proof,
        secrets.token_bytes,
        kind=kind,
        population=run.populations.get(SkuKey(model.name, size.nominal_mib)),
    )


def not_started(error: SubnetError) -> Reason:
    """What it means for a machine that its prover could not be started."""
    if isinstance(error, RunnerRefused):
        got = f"{error.code}: {error.detail}"[:200]
        return reason("PROVER_REFUSED", Severity.FAIL, got, "a Python that can run the prover")
    severity = Severity.FAIL if isinstance(error, HostileAnswer) else Severity.NO_VERDICT
    return reason("PROVER_LOST", severity, f"start: {error}"[:200], "a prover that starts")
