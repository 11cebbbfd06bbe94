"""Generated records: any that the types allow, and epochs in which they belong together."""

from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from storage.records import (
    CardProof,
    EpochHeader,
    EpochOutcome,
    EpochState,
    Executor,
    HostReport,
    MinerReply,
    Reason,
    Score,
    Severity,
    Standing,
    Verdict,
    WeightOutcome,
    WeightStatus,
    WeightTarget,
    WeightVector,
)

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)

_SCALARS = {
    str: st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=60),
    datetime: st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
}


@cache
def anything(kind):
    """Any value of this type, records and tuples filled to the bottom."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{f.name: anything(hints[f.name]) for f in fields(kind)})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    if get_origin(kind) is tuple and get_args(kind)[-1] is not Ellipsis:
        return st.tuples(*(anything(part) for part in get_args(kind)))
    if get_origin(kind) is tuple:
        return st.lists(anything(get_args(kind)[0]), max_size=2).map(tuple)
    return st.one_of([st.none() if part is type(None) else anything(part) for part in get_args(kind)])


@st.composite
def outcomes(draw):
    """An epoch: executors of the miners that replied, reports, verdicts and scores of some of them, by key."""
    hotkeys = draw(st.lists(st.sampled_from(["5Alice", "5Bob", "5Carol"]), unique=True))
    replies, executors = [], []
    for hotkey in sorted(hotkeys):
        names = sorted(draw(st.lists(st.sampled_from(["a", "b-1"]), unique=True)))
        mine = tuple(
            replace(draw(anything(Executor)), miner_hotkey=hotkey, executor_id=name) for name in names
        )
        reply = replace(draw(anything(MinerReply)), swaps=(), terms=(), certificates=())
        replies.append(replace(reply, hotkey=hotkey, executors=mine))
        executors += mine

    def about(kind):
        some = [e.key for e in executors if draw(st.booleans())]
        return tuple(replace(draw(anything(kind)), executor_key=key) for key in some)

    standings = about(Standing)
    outcome = draw(anything(EpochOutcome))
    if outcome.grounds is not None:
        ours = tuple(replace(s, record=replace(s.record, executor_key=s.executor_key)) for s in standings)
        neurons = tuple(replace(neuron, tls_commitment="") for neuron in outcome.grounds.neurons)
        outcome = replace(outcome, grounds=replace(outcome.grounds, standings=ours, neurons=neurons))
    weights = outcome.weights and replace(outcome.weights, epoch=outcome.epoch)
    return replace(
        outcome,
        replies=tuple(replies),
        executors=tuple(executors),
        reports=about(HostReport),
        verdicts=about(Verdict),
        scores=about(Score),
        weights=weights,
        weight_outcome=outcome.weight_outcome if weights else None,
        phases=_phases(outcome),
    )


def _phases(outcome):
    by_name = {phase.name: replace(phase, epoch=outcome.epoch) for phase in outcome.phases}
    return tuple(sorted(by_name.values(), key=lambda phase: (phase.started_at, phase.name)))


def header(epoch=7, **changes):
    """The header of an epoch."""
    block = epoch * 50
    return replace(
        EpochHeader(epoch, 3, block, "0xab", "5Validator", "localnet", "00ff", "0.1.0", NOON), **changes
    )


def executor(number=0, miner="5Alice"):
    """A machine of a miner."""
    return Executor(
        f"m-{number}", miner, 4, 1, "127.0.0.2", 2222, "root", "/usr/bin/python3", b"k" * 51, 1.25
    )


def verdict(key, transcript=b'{"challenge":"00"}'):
    """A proved machine with one card."""
    card = CardProof(
        "GPU-1",
        0,
        passed=True,
        code="PROVED",
        detail="",
        memory_bytes=1 << 30,
        walk_s=1.5,
        multiply_s=0.2,
        bandwidth_gb_s=900.0,
        operations_tera_s=40.0,
    )
    return Verdict(key, "PROVED", None, (card,), (), transcript, 1000)


def small_outcome(epoch=7, day=NOON, state=EpochState.FINISHED, machines=2):
    """An epoch written by hand: machines that passed, and weights that were set."""
    executors = tuple(executor(n) for n in range(machines))
    target = WeightTarget(4, "5Alice", 1.0)
    zero = Reason("GPU_VRAM_MISMATCH", Severity.FAIL, "12 GiB", "24 GiB", "List the card that is there.")
    return EpochOutcome(
        **{f.name: getattr(header(epoch, started_at=day), f.name) for f in fields(EpochHeader)},
        finished_at=day,
        state=state,
        replies=(MinerReply("5Alice", 4, executors, ()),),
        executors=executors,
        verdicts=tuple(verdict(e.key) for e in executors),
        scores=tuple(
            Score(e.key, "5Alice", 4, "RTX 4090", 1, 24 << 30, 0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 0.3, (zero,))
            for e in executors
        ),
        weights=WeightVector(epoch, (target,), 0.2),
        weight_outcome=WeightOutcome(
            WeightStatus.CONFIRMED, "", "", epoch * 50 + 9, "359-1", 0, (target,), ()
        ),
    )
