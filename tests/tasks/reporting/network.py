"""A small network that is archived: what a report is made of, with every number written by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from storage.history import write_epoch
from storage.records import (
    CardProof,
    Executor,
    ExecutorRecord,
    Grounds,
    HostFacts,
    HostReport,
    MinerReply,
    Neuron,
    Phase,
    Reason,
    Score,
    Severity,
    Standing,
    Verdict,
    WeightTarget,
    WeightVector,
)
from tasks.policy import DEFAULT
from tests.storage.outcomes import small_outcome

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
GIB = 1 << 30
DISK = Reason("DISK_BELOW_MINIMUM", Severity.FAIL, "20 GiB", "100 GiB", "Free some disk.")
AWAY = Reason("HOST_TIMEOUT", Severity.NO_VERDICT, "silence", "an answer", "Check the network.")
LOWERED = Reason("HOST_MINIMUM_LOWERED", Severity.WARN, "1 GiB", "16 GiB", "Nothing to do.")

CARD = CardProof(
    "GPU-0",
    0,
    passed=True,
    code="PROVED",
    detail="",
    memory_bytes=0,
    walk_s=1,
    multiply_s=1,
    bandwidth_gb_s=0,
    operations_tera_s=1,
)
NEURON = Neuron(
    0,
    "",
    "5Cold",
    None,
    is_active=True,
    has_permit=False,
    stake_rao=1,
    last_update_block=1,
    registered_at_block=1,
    incentive=0,
    dividends=0,
    collateral_locked_rao=None,
)


def machine(
    name, miner="5Alice", *, model="L4", cards=1, price=0.5, score=1.0, reasons=(), gb_s=100.0, gib=24
):
    """One machine's part of an epoch; its reasons are the inspection's."""
    stopped = any(r.severity is not Severity.WARN for r in reasons)
    uid = {"5Owner": 0, "5Alice": 4, "5Bob": 5}.get(miner, 6)
    executor = Executor(name, miner, uid, 1, "127.0.0.2", 22, "root", "/python", b"k" * 51, price)
    proofs = tuple(
        replace(CARD, card_index=n, memory_bytes=gib * GIB // 2, bandwidth_gb_s=gb_s) for n in range(cards)
    )
    return (
        executor,
        HostReport(executor.key, HostFacts(), (), None, tuple(reasons), 0.1, 1.0),
        Verdict(executor.key, "NOT_TRIED", Severity.NO_VERDICT, (), (), b"", 0)
        if stopped
        else Verdict(executor.key, "PROVED", None, proofs, (), b"", 9),
        Score(
            *(executor.key, miner, uid, model, cards, cards * gib * GIB, 1.0, 1.0, 1.0, 1.0, 1.0),
            *(float(not stopped), 0.0 if stopped else score, tuple(reasons)),
        ),
    )


def epoch(
    number, *machines, at=NOON, weights=None, incentive=None, leased=(), seconds=(1.0, 20.0, 30.0), **changes
):
    """An archived epoch of these machines; shares by hotkey, uids from 4 on."""
    executors, reports, verdicts, scores = (tuple(m[n] for m in machines) for n in range(4))
    uids = {"5Owner": 0, "5Alice": 4, "5Bob": 5}
    neurons = tuple(
        replace(NEURON, uid=uids.get(h, 6), hotkey=h, incentive=share)
        for h, share in (incentive or {}).items()
    )
    standings = tuple(
        Standing(e.key, ExecutorRecord(e.key), is_leased=e.executor_id in leased, deposited_rao=0)
        for e in executors
    )
    targets = tuple(WeightTarget(uids.get(h, 6), h, w) for h, w in (weights or {}).items())
    phases, begin = [], at
    for name, took in zip(("discovery", "inspection", "proof"), seconds, strict=True):
        end = begin + timedelta(seconds=took) if took is not None else None
        phases.append(Phase(number, name, 1, 1, "", begin, end))
        begin = end or begin
    grounds = Grounds(at, DEFAULT.to_json(), "5Owner", neurons, standings)
    hotkeys = sorted({e.miner_hotkey for e in executors})
    return replace(
        small_outcome(number, day=at),
        replies=tuple(MinerReply(h, uids.get(h, 6), (), ()) for h in hotkeys),
        executors=executors,
        reports=reports,
        verdicts=verdicts,
        scores=scores,
        weights=WeightVector(number, targets, 0.2) if targets else None,
        weight_outcome=None,
        grounds=grounds,
        phases=tuple(phases),
        **changes,
    )


def archive(root, *epochs):
    """The history of these epochs."""
    for outcome in epochs:
        write_epoch(root, outcome)
    return root
