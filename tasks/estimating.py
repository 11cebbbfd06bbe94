"""What a machine would earn that does not exist yet: put beside those of an archived epoch and scored by the same code.

    archived epoch + hypothetical machine -> score_epoch -> weight_vector -> share of the emission -> alpha, TAO, USD a day

The share is what the miner would have with the machine, less what it has without: the machine dilutes its own model too.
Pure: nothing is measured, so the machine is taken for what it says, and every validator for weighing like this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from storage.records import (
    ALPHA_TAO,
    TAO_USD,
    Bandwidth,
    Card,
    CardProof,
    EpochOutcome,
    EpochState,
    Executor,
    ExecutorRecord,
    Grounds,
    HostFacts,
    HostReport,
    Lease,
    Neuron,
    Reason,
    Score,
    Severity,
    Standing,
    Verdict,
)
from tasks.inspection.models import Model, find
from tasks.policy import Policy
from tasks.proof.reasons import MODEL_UNPROVEN, reason
from tasks.scoring.market import Market
from tasks.scoring.scoring import score_epoch
from tasks.scoring.shares import Ground, weight_vector

MINERS_SHARE = 0.41
"""Of what a subnet gives out: the owner has 18 %, validators and miners half of the rest each."""
ALPHA_PER_DAY = 7_200 * MINERS_SHARE
"""A subnet's emission for its miners: 1 alpha a block of 12 s, and their share of it."""
NEWCOMER = "a new miner"
"""Stands for the hotkey of a miner that has no machine in the epoch."""
_NAME = "estimate"
_FREE_BYTES = 1 << 50
_PLENTY_RAO = 1 << 62
_DRIVER = "999.99"


@dataclass(frozen=True, slots=True)
class Hypothetical:
    """A machine as its owner thinks of it: everything else about it is in order."""

    model: Model
    card_count: int
    is_leased: bool = False
    passing_s: float = 0.0
    """Of unbroken passing."""
    price_usd_per_hour: float | None = None
    """That it asks, for all cards; None: the market's rate."""
    rent_usd_per_hour: float | None = None
    """That a renter pays; None: what it asks."""
    performance: float = 1.0
    """Proved bandwidth over the model's own."""
    mbit_s: float = 1_000.0
    is_isolating: bool = True
    has_collateral: bool = True
    """Deposited for it; what a miner that is there has locked on the chain is as in the epoch."""
    is_proven: bool | None = None
    """Whether enough miners have proved the model; None: as it is in the epoch."""
    miner_hotkey: str = NEWCOMER


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one machine would earn."""

    score: Score
    share: float
    """Of the emission for miners, 0..1, after what burns."""
    burn_share: float
    alpha_per_day: float
    tao_per_day: float | None
    """None: the price of alpha is not known."""
    usd_per_day: float | None
    rent_usd_per_day: float
    """What its renter pays beside it."""


def estimate(
    epoch: EpochOutcome | None, machine: Hypothetical, policy: Policy, alpha_per_day: float = ALPHA_PER_DAY
) -> Estimate:
    """One machine beside those of an archived epoch; None, or one that was not scored: alone on a subnet."""
    empty = empty_epoch(policy)
    world = _without(epoch if epoch and epoch.grounds else empty, machine)
    grounds = world.grounds or empty.grounds
    assert grounds is not None
    before = _weights(world, grounds, _scores(world, grounds, policy), policy)[0]
    joined, grounds = _with(world, grounds, machine, policy)
    scores = _scores(joined, grounds, policy)
    after, burn_share = _weights(joined, grounds, scores, policy)
    share = max(0.0, after.get(machine.miner_hotkey, 0.0) - before.get(machine.miner_hotkey, 0.0))
    own = next(score for score in scores if score.executor_key == _key(machine))
    tokens, alpha = Market(grounds.quotes, policy).tokens, share * alpha_per_day
    tao = alpha * tokens[ALPHA_TAO] if ALPHA_TAO in tokens else None
    return Estimate(
        score=own,
        share=share,
        burn_share=burn_share,
        alpha_per_day=alpha,
        tao_per_day=tao,
        usd_per_day=tao * tokens[TAO_USD] if tao is not None and TAO_USD in tokens else None,
        rent_usd_per_day=24.0 * _rent(machine, grounds, policy) if machine.is_leased else 0.0,
    )


def _scores(world: EpochOutcome, grounds: Grounds, policy: Policy) -> tuple[Score, ...]:
    return score_epoch(world.executors, world.reports, world.verdicts, grounds, policy)


def _weights(
    world: EpochOutcome, grounds: Grounds, scores: Iterable[Score], policy: Policy
) -> tuple[dict[str, float], float]:
    """Shares by hotkey, and what burns."""
    ground = Ground(grounds.neurons, grounds.owner_hotkey, world.block_hash)
    vector = weight_vector(world.epoch, scores, ground, policy.weights)
    return {target.hotkey: target.weight for target in vector.targets}, vector.burn_share


def _key(machine: Hypothetical) -> str:
    return f"{machine.miner_hotkey}/{_NAME}"


def _without(world: EpochOutcome, machine: Hypothetical) -> EpochOutcome:
    """The epoch without a machine that happens to have the same key."""
    key = _key(machine)
    return replace(world, executors=tuple(e for e in world.executors if e.key != key))


def _with(
    world: EpochOutcome, grounds: Grounds, machine: Hypothetical, policy: Policy
) -> tuple[EpochOutcome, Grounds]:
    known = next((n for n in grounds.neurons if n.hotkey == machine.miner_hotkey), None)
    uid = known.uid if known else max((n.uid for n in grounds.neurons), default=-1) + 1
    locked_rao = _PLENTY_RAO if machine.has_collateral else None
    newcomer = replace(_neuron(machine.miner_hotkey, uid), collateral_locked_rao=locked_rao)
    neurons = grounds.neurons if known else (*grounds.neurons, newcomer)
    joined = replace(
        world,
        executors=(*world.executors, _executor(machine, uid, _price(machine, grounds, policy))),
        reports=(*world.reports, _report(machine, policy)),
        verdicts=(*world.verdicts, _verdict(machine, world, policy)),
    )
    lease = Lease(_NAME, _key(machine), (), _rent(machine, grounds, policy), grounds.scored_at)
    leases = (*grounds.leases, lease) if machine.is_leased else grounds.leases
    standing = _standing(machine, grounds.scored_at)
    return joined, replace(grounds, neurons=neurons, standings=(*grounds.standings, standing), leases=leases)


def _price(machine: Hypothetical, grounds: Grounds, policy: Policy) -> float:
    if machine.price_usd_per_hour is not None:
        return machine.price_usd_per_hour
    rate = Market(grounds.quotes, policy).rate(_cards(machine))
    return rate.usd_per_hour * machine.card_count if rate else 0.0


def _rent(machine: Hypothetical, grounds: Grounds, policy: Policy) -> float:
    if machine.rent_usd_per_hour is not None:
        return machine.rent_usd_per_hour
    return _price(machine, grounds, policy)


def _executor(machine: Hypothetical, uid: int, price_usd_per_hour: float) -> Executor:
    return Executor(
        executor_id=_NAME,
        miner_hotkey=machine.miner_hotkey,
        miner_uid=uid,
        miner_registered_at_block=0,
        address="192.0.2.1",
        port=22,
        user="subnet",
        python="/usr/bin/python3",
        host_key=b"",
        price_usd_per_hour=price_usd_per_hour,
    )


def _neuron(hotkey: str, uid: int) -> Neuron:
    return Neuron(
        uid=uid,
        hotkey=hotkey,
        coldkey="",
        endpoint=None,
        is_active=True,
        has_permit=False,
        stake_rao=0,
        last_update_block=0,
        registered_at_block=0,
        incentive=0.0,
        dividends=0.0,
        collateral_locked_rao=None,
    )


def _cards(machine: Hypothetical) -> tuple[Card, ...]:
    memory = machine.model.skus[0].nominal_mib
    unsaid: tuple[None, ...] = (None,) * 8
    return tuple(
        Card(at, f"{_NAME}-{at}", machine.model.aliases[0], memory, _DRIVER, *unsaid)
        for at in range(machine.card_count)
    )


def _report(machine: Hypothetical, policy: Policy) -> HostReport:
    runtimes = policy.scoring.isolating_runtimes[:1] if machine.is_isolating else ()
    facts = HostFacts(
        cards=_cards(machine),
        gpu_count=machine.card_count,
        cpu_count=64,
        ram_bytes=_FREE_BYTES,
        disk_free_bytes=_FREE_BYTES,
        container_runtimes=("runc", *runtimes),
    )
    bandwidth = Bandwidth(machine.mbit_s, machine.mbit_s, 1)
    return HostReport(_key(machine), facts, (), bandwidth, (), 0.0, 0.0)


def _verdict(machine: Hypothetical, world: EpochOutcome, policy: Policy) -> Verdict:
    size = machine.model.skus[0]
    proofs = tuple(
        CardProof(
            card_uuid=f"{_NAME}-{at}",
            card_index=at,
            passed=True,
            code="PROVED",
            detail="",
            memory_bytes=size.memory_bytes,
            walk_s=1.0,
            multiply_s=1.0,
            bandwidth_gb_s=size.bandwidth_gb_s * machine.performance,
            operations_tera_s=1.0,
        )
        for at in range(machine.card_count)
    )
    is_proven = (
        machine.is_proven if machine.is_proven is not None else _is_proven(world, machine.model, policy)
    )
    return Verdict(_key(machine), "PROVED", None, proofs, () if is_proven else (_unproven(),), b"", 0)


def _is_proven(world: EpochOutcome, model: Model, policy: Policy) -> bool:
    """Where the policy asks for no history, no model is unproven."""
    asks = policy.proof.enforce_bandwidth and policy.proof.history_miners > 0
    return not asks or is_proven_in(world, model)


def is_proven_in(world: EpochOutcome, model: Model) -> bool:
    """Whether the epoch paid the model as known: a machine of it was proved, and not flagged as unproven."""
    of_model = {
        report.executor_key
        for report in world.reports
        if report.facts.cards and find(report.facts.cards[0].model) is model
    }
    return any(
        v.executor_key in of_model and v.proved and all(r.code != MODEL_UNPROVEN for r in v.reasons)
        for v in world.verdicts
    )


def _unproven() -> Reason:
    return reason(
        MODEL_UNPROVEN, Severity.WARN, "no machine of the model that is paid as known", "enough of them"
    )


def _standing(machine: Hypothetical, now: datetime) -> Standing:
    since = now - timedelta(seconds=machine.passing_s)
    record = ExecutorRecord(_key(machine), since, passed_since=since)
    deposit_rao = _PLENTY_RAO if machine.has_collateral else 0
    return Standing(_key(machine), record, machine.is_leased, deposit_rao)


def empty_epoch(policy: Policy) -> EpochOutcome:
    """A subnet of its owner alone."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    grounds = Grounds(now, policy.to_json(), "owner", (_neuron("owner", 0),), ())
    state = EpochState.FINISHED
    return EpochOutcome(0, 0, 0, "", "", policy.name, "", "", now, now, state, grounds=grounds)


def models_named(text: str, models: Sequence[Model]) -> tuple[Model, ...]:
    """The models that somebody means: the one with exactly this name, else all whose name ends with these words."""
    exact = find(text)
    if exact is not None:
        return (exact,)
    words = text.lower().split()
    ending = [m for m in models if m.name.lower().split()[-len(words) :] == words]
    return tuple(ending) or tuple(m for m in models if set(words) <= set(m.name.lower().split()))
