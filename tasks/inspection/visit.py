"""One visit to one machine: log in, ask all facts in one round trip, measure the channel, check.

A machine that can't be reached gives a report that says so; nothing here raises for what a machine does. The
session stays open with whoever visits, because the proof goes on talking on the same channel.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from storage.records import (
    Bandwidth,
    Executor,
    ExecutorRecord,
    HostFacts,
    HostReport,
    RawFact,
    Reason,
    Severity,
)
from tasks.edges.shell import EpochKey, Session, Shell, StopWatch
from tasks.errors import BadAnswer, HostAway, HostKeyMismatch, LimitExceeded, SubnetError
from tasks.inspection.checks import check_host, smooth
from tasks.inspection.facts import COMMANDS, FactOutput, read_facts
from tasks.inspection.talk import ask_facts, measure_bandwidth, start_runner
from tasks.policy import Policy
from tasks.shadow import shadowed

CONNECT_ATTEMPTS = 2
ONCE_MORE = frozenset({"connect", "handshake"})
"""Phases of a session in which a transport error is tried again: nothing has been asked yet."""


class Visitor(Protocol):
    """What a visit needs of whoever makes it."""

    @property
    def policy(self) -> Policy:
        """The epoch's."""
        ...

    @property
    def shell(self) -> Shell:
        """Opens sessions."""
        ...

    def clock(self) -> float:
        """The monotonic clock of the deadlines."""
        ...

    def key_for(self, executor: Executor) -> EpochKey:
        """How to log in; BadAnswer when the miner's certificate is none."""
        ...

    def hear(self) -> None:
        """The machine has answered."""
        ...

    def probe_slot(self, deadline: float) -> AbstractContextManager[bool]:
        """A turn to measure bandwidth; False when none was free by the deadline."""
        ...

    def hold(self, executor: Executor, session: Session) -> None:
        """Keep the session for the proof."""
        ...


def visit(
    visitor: Visitor,
    executor: Executor,
    record: ExecutorRecord,
    until: float = math.inf,
    *,
    measures_bandwidth: bool = True,
) -> HostReport:
    """Inspect one machine by `until`; its session is left with the visitor when nothing speaks against a proof."""
    began = visitor.clock()
    deadline = min(began + visitor.policy.inspection.session_deadline_s, until)
    session: Session | None = None
    connected = began
    try:
        session = _connect(visitor, executor, deadline)
        connected, watch = visitor.clock(), StopWatch(visitor.hear)
        start_runner(session, deadline=deadline)
        outputs = ask_facts(session, COMMANDS, deadline=deadline)
        watch.note("facts")
        bandwidth = _measure(visitor, session, deadline) if measures_bandwidth else None
        watch.note("bandwidth")
        facts, unreadable = read_facts({output.name: output for output in outputs})
        smoothed = _smoothed(visitor.policy, record, bandwidth)
        reasons = unreadable + check_host(facts, record, smoothed, visitor.policy.inspection)
        report = HostReport(
            executor.key,
            facts,
            _raw(outputs),
            bandwidth,
            shadowed(reasons, visitor.policy.shadow),
            connected - began,
            visitor.clock() - began,
            session.steps + watch.steps,
        )
        if report.may_be_proved:
            visitor.hold(executor, session)
            session = None
    except SubnetError as error:
        spent_s = connected - began, visitor.clock() - began
        return HostReport(executor.key, HostFacts(), (), None, (reason_of(error),), *spent_s)
    else:
        return report
    finally:
        if session is not None:
            session.close()


def _connect(visitor: Visitor, executor: Executor, deadline: float) -> Session:
    key = visitor.key_for(executor)
    for attempt in range(1, CONNECT_ATTEMPTS + 1):
        try:
            return visitor.shell.open(executor, key, deadline=deadline, hear=visitor.hear)
        except HostAway as error:
            is_final = attempt == CONNECT_ATTEMPTS or error.phase not in ONCE_MORE
            if is_final or visitor.clock() > deadline - 1.0:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _measure(visitor: Visitor, session: Session, deadline: float) -> Bandwidth | None:
    """A sample; a larger one more, of which the better counts, when the first is slow: a cold connection measures low.

    A few machines at a time: all at once they would measure the validator's own line. None when its turn did not come
    in time for the proof to begin: others may have stalled on purpose, and what earlier epochs measured counts then.
    """
    policy = visitor.policy.inspection
    with visitor.probe_slot(deadline - policy.bandwidth_turn_s) as is_ours:
        if not is_ours:
            return None
        end = min(deadline, visitor.clock() + policy.bandwidth_turn_s)
        first = measure_bandwidth(session, policy.bandwidth_probe_bytes, deadline=end)
        visitor.hear()
        if min(first.up_mbit_s, first.down_mbit_s) >= policy.min_mbit_s:
            return first
        second = measure_bandwidth(session, policy.bandwidth_repeat_bytes, deadline=end)
    return better(first, second)


def better(first: Bandwidth, second: Bandwidth) -> Bandwidth:
    """The better of two samples, each way by itself."""
    trips = [sample.rtt_ms for sample in (first, second) if sample.rtt_ms is not None]
    return Bandwidth(
        max(first.up_mbit_s, second.up_mbit_s),
        max(first.down_mbit_s, second.down_mbit_s),
        first.samples + second.samples,
        min(trips, default=None),
    )


def _smoothed(policy: Policy, record: ExecutorRecord, sample: Bandwidth | None) -> Bandwidth | None:
    if sample is None:
        up, down = record.up_mbit_s, record.down_mbit_s
        return None if up is None or down is None else Bandwidth(up, down, samples=0)
    weight = policy.inspection.bandwidth_smoothing
    return Bandwidth(
        smooth(record.up_mbit_s, sample.up_mbit_s, weight),
        smooth(record.down_mbit_s, sample.down_mbit_s, weight),
        sample.samples,
        sample.rtt_ms,
    )


def _raw(outputs: Sequence[FactOutput]) -> tuple[RawFact, ...]:
    return tuple(
        RawFact(o.name, o.exit_code, hashlib.blake2s(o.stdout).hexdigest(), len(o.stdout), o.duration_s)
        for o in outputs
    )


def reason_of(error: SubnetError) -> Reason:
    """What a machine's session that failed means for the machine: silence is no verdict, a lie is a failure."""
    match error:
        case HostKeyMismatch():
            return Reason(
                "HOST_KEY_MISMATCH",
                Severity.FAIL,
                f"ed25519 host key ending {error.got.hex()[-16:]}",
                f"the announced one, ending {error.wanted.hex()[-16:]}",
                "Announce the machine's own host key (/etc/ssh/ssh_host_ed25519_key.pub) in the miner's configuration.",
            )
        case LimitExceeded():
            return Reason(
                "HOST_LIMIT_EXCEEDED",
                Severity.FAIL,
                f"more than the budget of {error.budget}",
                f"at most {error.limit}",
                "Run a stock OpenSSH server whose login prints nothing.",
            )
        case BadAnswer():
            return Reason(
                "HOST_BAD_ANSWER",
                Severity.FAIL,
                str(error)[:200],
                "an answer that fits the protocol",
                "Run the announced Python unmodified, with nothing printed at login.",
            )
        case HostAway():
            is_late = "deadline" in error.detail
            return Reason(
                "HOST_TIMEOUT" if is_late else "HOST_UNREACHABLE",
                Severity.NO_VERDICT,
                f"{error.phase}: {error.detail}"[:200],
                "a session that answers within its deadline",
                "Check that the machine is up, its SSH port is open to the validator, and the announced user may log in.",
            )
        case _:
            raise error
