"""A look at a machine before it is brought in, over the miner's own login: what its validators will ask, and what it lacks.

    report = Preflight(shell, pins, policy).look(machine, key)

The facts and the checks of the inspection are the validators' own (`tasks.inspection`), under the policy that the miner
names; those of `tasks.onboarding.needs` come beside them. A machine that can't be reached gives a report that says so.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from storage.records import Bandwidth, ExecutorRecord, HostFacts, Reason, Severity
from tasks.edges.shell import EpochKey, Session, Shell, connect
from tasks.errors import HostAway, HostKeyMismatch, SettingError, SubnetError
from tasks.inspection.checks import CHECKS, check_host
from tasks.inspection.facts import COMMANDS, FactOutput, read_facts
from tasks.inspection.facts.text import Unreadable
from tasks.inspection.talk import ask_facts, measure_bandwidth, start_runner, stream_from
from tasks.inspection.visit import better, reason_of
from tasks.onboarding.login import Pins, fingerprint, looked_up, meet
from tasks.onboarding.machine import Machine
from tasks.onboarding.needs import ASKED, CLOCK, NEEDS, PROBE_ARGV, Found, check_needs, read_needs
from tasks.policy import Policy

AT_ONCE = 32
CLOCK_SAMPLES = 3
PORT_PATIENCE_S = 5.0
GREETING_BYTES = 32
NOT_FOUND = "status 127"

Agreed = Callable[[Machine, str], bool]
"""Whether a machine's fingerprint, seen for the first time, is the right one: asked of a human, or answered for all."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of one machine."""

    machine: Machine
    found: Found
    reasons: tuple[Reason, ...]
    bandwidth: Bandwidth | None = None
    checked: int = 0
    """Checks that were made."""
    passed: int = 0
    fingerprint: str = ""
    """Of the host key that answered, or is pinned; empty when none did."""
    is_first_meeting: bool = False
    seconds: float = 0.0

    @property
    def is_fit(self) -> bool:
        """Whether nothing would keep it from being paid."""
        return not any(reason.decides for reason in self.reasons)


class Preflight:
    """Looks at machines, several at a time; `agreed` is asked one machine after the other."""

    def __init__(self, shell: Shell, pins: Pins, policy: Policy, agreed: Agreed) -> None:
        self._shell, self._pins, self._policy, self._agreed = shell, pins, policy, agreed
        self._asking = threading.Lock()
        self._probing = threading.BoundedSemaphore(policy.inspection.bandwidth_probes_at_once)

    def look_at_all(self, machines: Sequence[Machine], key: EpochKey) -> tuple[Report, ...]:
        """Reports in the machines' order; each has its own time, so that one that hangs holds up nobody."""
        with ThreadPoolExecutor(max_workers=min(AT_ONCE, max(1, len(machines)))) as pool:
            return tuple(pool.map(lambda machine: self.look(machine, key), machines))

    def look(self, machine: Machine, key: EpochKey) -> Report:
        """One machine, within the time that a validator would give it, and the human's for its fingerprint."""
        began = time.monotonic()
        met: list[str] = []
        try:
            machine = looked_up(machine)
            pinned, is_new = self._host_key(machine, key, met)
            with self._shell.open(machine.executor(pinned), key, deadline=self._deadline()) as session:
                report = self._ask(machine, session)
            report = replace(report, is_first_meeting=is_new)
        except SubnetError as error:
            if isinstance(error, SettingError):
                raise
            reason = error.reason if isinstance(error, _Stopped) else reason_at_login(error)
            report = Report(machine, Found(HostFacts()), (reason,))
        return replace(report, fingerprint=met[0] if met else "", seconds=time.monotonic() - began)

    def _deadline(self) -> float:
        return time.monotonic() + self._policy.inspection.session_deadline_s

    def _host_key(self, machine: Machine, key: EpochKey, met: list[str]) -> tuple[bytes, bool]:
        """The pinned key; at a first meeting the one that answers, once somebody has agreed to it."""
        pinned = self._pins.of(machine)
        if pinned is not None:
            met.append(fingerprint(pinned))
            return pinned, False
        host_key = meet(self._shell, machine, key, deadline=self._deadline())
        met.append(fingerprint(host_key))
        with self._asking:
            if not self._agreed(machine, met[0]):
                raise _Stopped(_not_agreed(met[0]))
        self._pins.pin(machine, host_key)
        return host_key, True

    def _ask(self, machine: Machine, session: Session) -> Report:
        deadline, policy = self._deadline(), self._policy.inspection
        start_runner(session, deadline=deadline)
        offset_s, error_s = clock_offset(session, deadline)
        outputs = _by_name(ask_facts(session, COMMANDS, deadline=deadline))
        needs = _by_name(ask_facts(session, ASKED, deadline=deadline))
        bandwidth = self._measure(session, deadline)
        facts, unreadable = read_facts(outputs)
        found = replace(
            read_needs(needs, facts),
            clock_offset_s=offset_s,
            clock_error_s=error_s,
            is_port_open=port_is_open(session, machine.address, deadline),
            needs_cards=self._policy.proof.form == "cuda",
        )
        newcomer = ExecutorRecord(machine.label)
        against = check_host(facts, newcomer, bandwidth, policy) + check_needs(found)
        checked = len(CHECKS) + len(NEEDS)
        return Report(machine, found, unreadable + against, bandwidth, checked, checked - len(against))

    def _measure(self, session: Session, deadline: float) -> Bandwidth:
        """As a validator does: a larger sample where the first is slow, a few machines at a time."""
        policy = self._policy.inspection
        with self._probing:
            first = measure_bandwidth(session, policy.bandwidth_probe_bytes, deadline=deadline)
            if min(first.up_mbit_s, first.down_mbit_s) >= policy.min_mbit_s:
                return first
            return better(first, measure_bandwidth(session, policy.bandwidth_repeat_bytes, deadline=deadline))


def clock_offset(session: Session, deadline: float) -> tuple[float | None, float]:
    """By how much the machine's clock is ahead, and how wrong that may be: of some samples, the one that came back first."""
    best: tuple[float | None, float] = (None, math.inf)
    for _ in range(CLOCK_SAMPLES):
        before_s, began = time.time(), time.monotonic()
        (output,) = ask_facts(session, (CLOCK.command,), deadline=deadline)
        took_s = time.monotonic() - began
        told = CLOCK.read(output)
        if not isinstance(told, Unreadable) and took_s / 2 < best[1]:
            best = (told - (before_s + took_s / 2), took_s / 2)
    return (None, 0.0) if best[0] is None else best


def port_is_open(session: Session, address: str, deadline: float) -> bool:
    """Whether a port that the machine opens, as a renter's container would, is reached from here."""
    answered: list[bool] = []

    def knock(printed: bytes) -> None:
        if not answered:
            answered.append(greets(address, printed))

    stream_from(session, PROBE_ARGV, knock, timeout_s=8.0, limit_bytes=1_000, deadline=deadline)
    return answered == [True]


def greets(address: str, printed: bytes) -> bool:
    """Whether the listener that printed `PORT TOKEN` says its token to who comes to that port."""
    try:
        port, token = printed.split()
        number = int(port)
    except ValueError:
        return False
    if not 0 < number < 65_536:
        return False
    try:
        with connect(address, number, time.monotonic() + PORT_PATIENCE_S) as sock:
            sock.settimeout(PORT_PATIENCE_S)
            return _received(sock) == token
    except (HostAway, OSError):
        return False


def _received(sock: socket.socket) -> bytes:
    got = b""
    while len(got) < GREETING_BYTES and (piece := sock.recv(GREETING_BYTES - len(got))):
        got += piece
    return got


def reason_at_login(error: SubnetError) -> Reason:
    """What a session that failed means to the machine's own miner, who can mend more than a validator could tell it."""
    if isinstance(error, HostKeyMismatch):
        return Reason(
            "HOST_KEY_CHANGED",
            Severity.FAIL,
            fingerprint(error.got),
            f"the pinned {fingerprint(error.wanted)}",
            "If the machine was installed anew, take its line out of known_hosts; if not, somebody else answers there.",
        )
    if isinstance(error, HostAway) and error.phase == "auth":
        return Reason(
            "HOST_AUTH_REFUSED",
            Severity.FAIL,
            "the machine does not let this key in",
            "a login by this key",
            "Add the key to the user's authorized_keys, or name user and key by --user and --key.",
        )
    if isinstance(error, HostAway) and error.phase == "talk" and NOT_FOUND in error.detail:
        return Reason(
            "PYTHON_MISSING",
            Severity.FAIL,
            "no interpreter at the announced path",
            "Python 3 there",
            "Install Python, or name its path by --python.",
        )
    return reason_of(error)


def _not_agreed(seen: str) -> Reason:
    return Reason(
        "HOST_KEY_UNKNOWN",
        Severity.NO_VERDICT,
        f"{seen}, which nobody has agreed to",
        "a host key that was compared with the machine's own",
        "Compare it with what the machine shows, and run this again.",
    )


class _Stopped(SubnetError):
    """The look at a machine ended with this reason, before anything was asked of it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.code)
        self.reason = reason


def _by_name(outputs: Sequence[FactOutput]) -> dict[str, FactOutput]:
    return {output.name: output for output in outputs}
