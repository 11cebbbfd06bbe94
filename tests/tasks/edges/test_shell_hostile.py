import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from storage.records import Executor
from tasks.edges.shell import EpochKey, Shell
from tasks.errors import SubnetError
from tests.tasks.edges import hostile
from tests.tasks.edges.besieging import Servers, hostile_servers

DEADLINE_S, ANSWERED_S = 2.0, 10.0
ALL = {behaviour.name: behaviour for behaviour in hostile.named()}


def deadline_s(name: str) -> float:
    """Short for who will use it up; the others' servers are to have the time for what they do, though all are busy."""
    is_silent = ALL[name].may_last or ALL[name].says == hostile.DEADLINE
    return DEADLINE_S if is_silent else ANSWERED_S


@dataclass(frozen=True)
class Outcome:
    """How a session with one hostile server ended."""

    error: SubnetError | None
    wall_s: float
    caller_cpu_s: float


@dataclass(frozen=True)
class Siege:
    """What all of them together, at the same time, did to this process."""

    outcomes: dict[str, Outcome]
    cpu_s: float
    grown_mib: float
    threads_left: list[str]


@pytest.fixture(scope="module")
def siege() -> Siege:
    """All hostile servers in one child process, visited at the same time by one thread each."""
    with hostile_servers() as servers:
        return _besiege(servers)


def _besiege(servers: Servers) -> Siege:
    shell, key = Shell(), EpochKey.generate()
    before = {thread.ident for thread in threading.enumerate()}
    cpu, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    names = list(servers.ports)
    with ThreadPoolExecutor(len(names)) as pool:
        told = pool.map(lambda name: _visit(shell, key, servers.executor(name), deadline_s(name)), names)
        outcomes = dict(zip(names, told, strict=True))
    time.sleep(0.2)
    return Siege(
        outcomes,
        time.process_time() - cpu,
        (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024,
        [thread.name for thread in threading.enumerate() if thread.ident not in before],
    )


def _visit(shell: Shell, key: EpochKey, executor: Executor, within_s: float) -> Outcome:
    """What an inspection does, under one deadline: open, send what is large, and wait for answers."""
    begin, cpu = time.monotonic(), time.thread_time()
    deadline, error = begin + within_s, None
    try:
        session = shell.open(executor, key, deadline=deadline)
        try:
            while True:
                session.send(bytes(1 << 20 if session.bytes_received < 10_000 else 64), deadline=deadline)
                session.receive(deadline=deadline, limit_bytes=1 << 20)
        finally:
            session.close()
    except SubnetError as caught:
        error = caught
    return Outcome(error, time.monotonic() - begin, time.thread_time() - cpu)


@pytest.mark.parametrize("name", ALL)
def test_hostile_server_costs_only_its_session(siege: Siege, name: str) -> None:
    """A hostile server ends its session with an error of ours, by the deadline and for next to no CPU."""

    outcome = siege.outcomes[name]

    if not (ALL[name].may_last and hostile.DEADLINE in str(outcome.error)):
        assert type(outcome.error).__name__ == ALL[name].error, repr(outcome.error)
        assert ALL[name].says in str(outcome.error)
    assert outcome.wall_s < deadline_s(name) + 1.0
    assert outcome.caller_cpu_s < 1.0


def test_hostile_servers_leave_nothing_behind(siege: Siege) -> None:
    """After all hostile servers at once no thread is left, and CPU and memory of the process stayed small."""

    assert siege.threads_left == []
    assert siege.cpu_s < 0.1 * len(ALL)
    assert siege.grown_mib < 200
