"""The foreman over hands that are threads of this process, and over real processes that die, hang and eat."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import gevent
import pytest

from storage.records import HostReport, Severity
from tasks.crew.foreman import MOST_LIVES, HandLost
from tasks.crew.gates import Count
from tasks.crew.opening import crewed
from tasks.crew.orders import Proving
from tasks.crew.rosters import REPOSITORY, Threads, surroundings
from tasks.crew.station import Suspect
from tasks.errors import LeftBehind
from tasks.inspection.ours import CARRIED_OVER, VALIDATOR_FAILED
from tasks.inspection.step import inspect
from tasks.proof.challenge import ProofKind
from tests.deployments.localnet.visiting import is_gone
from tests.storage.outcomes import executor
from tests.tasks.crew.rigs import (
    PATIENT,
    came_to,
    crew_of,
    grip_of,
    grips_of,
    hands_that_may_hang,
    processes,
    visits_of,
    waiting_python,
)
from tests.tasks.edges.honest import serving
from tests.tasks.inspection.runs import edges_in, list_in_state, run_over

pytestmark = pytest.mark.filterwarnings("ignore:Logger 'subnet")


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """However busy the computer is, hands that start are waited for."""
    monkeypatch.setattr("tasks.crew.foreman.HELLO_S", 900.0)


def codes(report: HostReport) -> list[str]:
    return [reason.code for reason in report.reasons]


def is_whole(report: HostReport) -> bool:
    """Whether the machine has answered, and nothing of ours speaks against it."""
    ours = {VALIDATOR_FAILED, CARRIED_OVER, "HOST_TIMEOUT", "HOST_UNREACHABLE"}
    return bool(report.facts.cpu_count) and not ours & set(codes(report))


def test_reports_come_in_the_order_of_the_visits(tmp_path):
    """Whoever answers first; what can't be reached has its place too, and each of them is a step of the phase."""

    with (
        edges_in(tmp_path) as edges,
        run_over(edges, policy=PATIENT) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):
        machines = [
            host.executor(executor_id="gone", port=1),
            host.executor(executor_id="there"),
            host.executor(executor_id="odd", host_key=b"none"),
        ]

        async def visited():
            run.progress.begin("inspection", 3)
            async with crew_of(run, Threads(), 1) as crew:
                reports = await crew.visit(visits_of(run, machines), 900.0)
                assert await came_to(lambda: run.progress._phase.done == 3)
                return reports

        gone, there, odd = asyncio.run(visited())

    assert [r.executor_key for r in (gone, there, odd)] == [m.key for m in machines]
    assert codes(gone) == ["HOST_UNREACHABLE"]
    assert codes(odd) == ["HOST_BAD_ANSWER"]
    assert is_whole(there)


def test_machines_that_a_phase_has_no_time_for_are_carried_over(tmp_path):
    """Nobody connects to them any more, and the reason says that it is no doing of theirs."""

    with (
        edges_in(tmp_path) as edges,
        run_over(edges, policy=PATIENT) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):

        async def visited():
            async with crew_of(run, Threads(), 1) as crew:
                return await crew.visit(visits_of(run, [host.executor()]), 0.0)

        (report,) = asyncio.run(visited())
        assert host.connections == 0

    assert [(r.code, r.severity) for r in report.reasons] == [(CARRIED_OVER, Severity.NO_VERDICT)]


def test_a_visit_that_the_phases_end_cuts_short_is_carried_over(tmp_path):
    """A machine that had a second of its minute was not late: it is come to again, first of all."""

    python, _ = waiting_python(tmp_path)
    with (
        edges_in(tmp_path) as edges,
        run_over(edges, policy=PATIENT) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):

        async def visited():
            async with crew_of(run, Threads(), 1) as crew:
                return await crew.visit(visits_of(run, [host.executor(python=python)]), 1.0)

        (report,) = asyncio.run(visited())

    assert codes(report) == [CARRIED_OVER]


def kill(grip) -> None:
    os.kill(grip.pid, signal.SIGKILL)


def eat(grip) -> None:
    """As if it held more than it may: to have it really do so takes a gigabyte."""
    grip._most_bytes = 1 << 20


@pytest.mark.parametrize(("end", "why"), [(kill, "it ended"), (eat, "it held ")])
def test_a_hands_machines_are_visited_by_another_when_it_is_lost(tmp_path, end, why):
    """Two processes, of which one is killed, or holds too much memory, in the middle of its visits: all reports are whole."""

    python, go = waiting_python(tmp_path)
    with (
        edges_in(tmp_path) as edges,
        run_over(edges, policy=PATIENT) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):
        mine = [host.executor(executor_id=f"mine-{n}", python=python) for n in range(2)]
        others = [host.executor(executor_id="other", python=python)]

        async def visited():
            async with crew_of(run, processes(), 2) as crew:
                parts = [
                    asyncio.create_task(crew.visit(visits_of(run, shard), 900.0)) for shard in (mine, others)
                ]
                assert await came_to(lambda: len(host.commands) == 3)
                lost = grip_of(crew, mine[0])
                end(lost)
                assert await came_to(lambda: crew.hands == 1)
                go.touch()
                found = [*await parts[0], *await parts[1]]
                return found, lost.pid, dict(crew.lost), len(grips_of(crew))

        reports, pid, lost, hired = asyncio.run(visited())

    assert [r.executor_key for r in reports] == [m.key for m in (*mine, *others)]
    assert all(is_whole(report) for report in reports), [codes(r) for r in reports]
    assert is_gone(pid)
    assert hired == 2
    assert [(cause.startswith(why), count) for cause, count in lost.items()] == [(True, 1)]


def test_a_hand_that_hangs_is_killed_and_its_machine_alone_has_no_verdict(tmp_path, monkeypatch):
    """It comes to no end with what one machine has answered: that one is our fault, the others are visited by a new hand."""

    with (
        edges_in(tmp_path) as edges,
        run_over(edges, policy=PATIENT) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):
        machines = [host.executor(executor_id=name) for name in ("first", "hangs", "last")]
        hands_that_may_hang(monkeypatch, tmp_path)

        async def visited():
            async with crew_of(run, processes(), 1, silent_s=12.0) as crew:
                reports = await crew.visit(visits_of(run, machines), 900.0)
                return reports, [grip.pid for grip in grips_of(crew)], dict(crew.lost)

        (first, hangs, last), pids, lost = asyncio.run(visited())

    assert [(r.code, r.severity) for r in hangs.reasons] == [(VALIDATOR_FAILED, Severity.NO_VERDICT)]
    assert is_whole(first)
    assert is_whole(last)
    assert lost == {"it said nothing for 12 s": 1}
    assert len(pids) == 2
    assert all(is_gone(pid) for pid in pids)


def test_an_epoch_keeps_why_its_hands_were_lost(tmp_path):
    """A process that ends is an incident of the epoch, and the epoch goes on with another."""

    with edges_in(tmp_path) as plain:
        edges = replace(plain, roster=processes)
        with run_over(edges, policy=PATIENT) as run, serving(run.key_of("5Miner"), tmp_path) as host:
            list_in_state(run, host.executor())

            async def inspected():
                async with crewed(run):
                    await run.hands.hire(1)
                    kill(*grips_of(run.hands))
                    assert await came_to(lambda: run.hands.hands == 0)
                    return await inspect(run, [host.executor()])

            (report,) = asyncio.run(inspected())

    assert is_whole(report)
    assert [(r.code, r.severity, r.got) for r in run.incidents] == [
        ("HAND_LOST", Severity.WARN, "it ended with -9; 1 of them")
    ]


class DeadOnArrival:
    """Hands that end before they say a word, the first so many of them."""

    def __init__(self, dead: int) -> None:
        self._dead, self._threads = dead, Threads()
        self.asked = 0

    async def hire(self, count):
        self.asked += count
        recruits = [*await self._threads.hire(count)]
        for at in range(min(self._dead, count)):
            reader = asyncio.StreamReader()
            reader.feed_eof()
            recruits[at] = replace(recruits[at], reader=reader)
        self._dead -= min(self._dead, count)
        return recruits

    async def dismiss(self):
        await self._threads.dismiss()


def test_a_hand_that_does_not_start_costs_only_itself(tmp_path):
    """The others do its work, and it is told."""

    with edges_in(tmp_path) as edges, run_over(edges) as run:
        machine = replace(executor(), address="127.0.0.1", port=1)

        async def visited():
            async with crew_of(run, DeadOnArrival(1), 2) as crew:
                reports = await crew.visit(visits_of(run, [machine]), 900.0)
                return crew.hands, reports, sum(crew.lost.values())

        hands, (report,), lost = asyncio.run(visited())

    assert (hands, lost) == (1, 1)
    assert codes(report) == ["HOST_BAD_ANSWER"]


def test_without_any_hand_there_are_no_verdicts_and_no_end(tmp_path):
    """Visits are given up after a few tries; whoever hires is told so."""

    with edges_in(tmp_path) as edges, run_over(edges) as run:
        roster = DeadOnArrival(100)

        async def visited():
            with pytest.raises(HandLost, match="none could be started"):
                async with crew_of(run, roster, 1):
                    pass
            async with crew_of(run, roster, 0) as crew:
                return await crew.visit(visits_of(run, [executor()]), 900.0)

        (report,) = asyncio.run(visited())

    assert [(r.code, r.severity) for r in report.reasons] == [(VALIDATOR_FAILED, Severity.NO_VERDICT)]
    assert roster.asked == 1 + MOST_LIVES


def test_a_wave_over_two_hands_opens_its_gates_together(tmp_path, monkeypatch):
    """All wait for the last of both, whoever leaves is waited for by nobody, and the instants are one."""

    members = [replace(executor(n), address="127.0.0.1", port=1) for n in range(4)]
    late, leaver = members[3].key, members[1].key
    passed: dict[tuple[str, int], float | None] = {}
    arrived_at: list[float] = []

    def stand(_station, _occasion, gates, proving, _draw):
        key = proving.executor.key
        with gates.seat(key):
            for gate in range(3):
                if gate == 1 and key == late:
                    gevent.sleep(0.5)
                    arrived_at.append(time.monotonic())
                if gate == 2 and key == leaver:
                    return
                passed[key, gate] = gates.pass_gate(key, gate)
        return

    monkeypatch.setattr("tasks.crew.hand.prove_machine", stand)
    with edges_in(tmp_path) as edges, run_over(edges) as run:

        async def proved():
            async with crew_of(run, Threads(), 2) as crew:
                groups = crew.by_home(members)
                wave = await crew.begin_wave(members, (900.0,) * 3, 350, "0xab", 1)
                told = await asyncio.gather(
                    *(crew.prove(wave, [proving(run, m) for m in group]) for group in groups)
                )
                return groups, told

        groups, told = asyncio.run(proved())

    assert sorted(map(len, groups)) == [2, 2]
    assert told == [[], []]
    for gate in range(3):
        instants = [passed[m.key, gate] for m in members if (m.key, gate) in passed]
        assert None not in instants
        assert len(instants) == (3 if gate == 2 else 4)
        # Milliseconds, where two threads have a core each; here only that no hand waits for its own members alone.
        assert max(instants) - min(instants) < 5.0
    assert min(passed[m.key, 1] for m in members) >= arrived_at[0]


def proving(run, machine) -> Proving:
    return Proving(machine, run.access_to(machine), (), "NVIDIA L4", 23_034, ProofKind.FULL, None)


def test_a_stranger_that_stalls_is_left_behind_and_keeps_nobody(tmp_path, monkeypatch):
    """Of two hands three members are known: they go on without the fourth, whose conversation ends there and then."""

    members = [replace(executor(n), address="127.0.0.1", port=1) for n in range(4)]
    stranger, passed, ended = members[3].key, [], []

    def stand(_station, _occasion, gates, proving, _draw):
        key = proving.executor.key
        with gates.seat(key):
            try:
                passed.append(gates.pass_gate(key, 0))
                if key == stranger:
                    gevent.sleep(600.0)
                passed.append(gates.pass_gate(key, 1))
            except LeftBehind:
                ended.append(key)

    monkeypatch.setattr("tasks.crew.hand.prove_machine", stand)
    with edges_in(tmp_path) as edges, run_over(edges) as run:

        async def proved():
            async with crew_of(run, Threads(), 2) as crew:
                groups = crew.by_home(members)
                limits_s = (600.0,) * 2
                wave = await crew.begin_wave(members, limits_s, 350, "0xab", 1, hurried=frozenset({stranger}))
                proofs = (crew.prove(wave, [proving(run, m) for m in group]) for group in groups)
                return await asyncio.wait_for(asyncio.gather(*proofs), 300.0)

        assert asyncio.run(proved()) == [[], []]

    assert len(passed) == 7
    assert None not in passed
    assert ended == [stranger]


def test_the_hands_part_of_a_wave_is_lost_with_it(tmp_path, monkeypatch):
    """Its machines have no verdict, and the gates open for the others as soon as it is gone."""

    members = [replace(executor(n), address="127.0.0.1", port=1) for n in range(2)]
    passed = {}

    def stand(_station, _occasion, gates, proving, _draw):
        key = proving.executor.key
        if key == members[1].key:
            gevent.sleep(900.0)
        passed[key] = gates.pass_gate(key, 0)

    monkeypatch.setattr("tasks.crew.hand.prove_machine", stand)
    with edges_in(tmp_path) as edges, run_over(edges) as run:

        async def proved():
            async with crew_of(run, Threads(), 2) as crew:
                groups = crew.by_home(members)
                wave = await crew.begin_wave(members, (900.0,), 350, "0xab", 1)
                proofs = [
                    asyncio.create_task(crew.prove(wave, [proving(run, m) for m in group]))
                    for group in groups
                ]
                assert await came_to(
                    lambda: crew._wave.gate.standing == {1: Count(1, 1, 0), 2: Count(0, 1, 1)}
                )
                crew._lose(crew._hands[2], "as if it had died")
                return await asyncio.wait_for(asyncio.gather(*proofs), 300.0)

        assert asyncio.run(proved()) == [[], []]

    assert list(passed) == [members[0].key]
    assert passed[members[0].key] is not None


def test_a_hands_process_has_nothing_of_the_validators(tmp_path, monkeypatch):
    """Neither settings nor secrets in its environment and its arguments, nor the state among its files; it ends with the link."""

    monkeypatch.setenv("SUBNET_DATABASE_URL", "postgresql://subnet:very-secret@db/subnet")
    monkeypatch.setenv("SUBNET_WALLET_PASSWORD_FILE", "/run/very-secret")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "very-secret")
    with edges_in(tmp_path) as edges, run_over(edges) as run:

        async def looked():
            async with crew_of(run, processes(), 2) as crew:
                pids = [grip.pid for grip in grips_of(crew)]
                told = [_looked_into(pid) for pid in pids]
                return pids, told

        pids, told = asyncio.run(looked())

    for text, files in told:
        assert b"secret" not in text
        assert b"SUBNET_" not in text
        assert run.edges.own_hotkey.encode() not in text
        assert not [name for name in files if name.startswith(str(tmp_path))]
    assert all(is_gone(pid) for pid in pids)


def _looked_into(pid: int) -> tuple[bytes, list[str]]:
    """A process's environment and arguments, and what its files are."""
    place = Path(f"/proc/{pid}")
    text = (place / "environ").read_bytes() + (place / "cmdline").read_bytes()
    return text, [str(entry.readlink()) for entry in (place / "fd").iterdir()]


def test_an_epoch_that_is_stopped_leaves_no_process(tmp_path):
    """Cancelled in the middle of a visit, as Ctrl-C does it, it ends its hands first."""

    python, _ = waiting_python(tmp_path)
    pids = []
    with (
        edges_in(tmp_path) as plain,
        run_over(replace(plain, roster=processes), policy=PATIENT) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):

        async def stopped():
            async with crewed(run):
                await run.hands.hire(1)
                pids.extend(grip.pid for grip in grips_of(run.hands))
                await run.hands.visit(visits_of(run, [host.executor(python=python)]), 900.0)

        async def stop():
            work = asyncio.create_task(stopped())
            assert await came_to(lambda: host.commands)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

        asyncio.run(stop())

    assert len(pids) == 1
    assert is_gone(pids[0])
    assert run.incidents == []


def test_only_what_python_needs_is_passed_on():
    """By name: whatever else stands in the environment stays here."""

    told = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "NUMBA_CACHE_DIR": "/c",
        "PYTHONPATH": "/p",
        "AWS_KEY": "x",
        "SUBNET_NETUID": "1",
    }

    assert sorted(surroundings(told)) == ["LC_ALL", "NUMBA_CACHE_DIR", "PATH", "PYTHONPATH"]


def test_a_suspect_is_noted_in_memory_that_both_sides_see():
    """A number of eight bytes, 0 for none."""

    shared = bytearray(8)
    Suspect(shared).note((3 << 16) + 7)

    assert Suspect(shared).number == (3 << 16) + 7
    assert Suspect().number == 0


FLOW = """
import asyncio, sys, time
from tasks.crew.rosters import Processes

async def hire():
    (recruit,) = await Processes(1 << 30).hire(1)
    await recruit.reader.readexactly(8)  # it is at work
    sys.stdout.write(f"{recruit.grip.pid}\\n")
    sys.stdout.flush()
    time.sleep(900)

asyncio.run(hire())
"""


def test_a_hand_that_hangs_does_not_outlive_a_flow_that_is_killed():
    """A stopped hand hears no end of its connection: the kernel ends it with the process that hired it."""

    flow = subprocess.Popen([sys.executable, "-c", FLOW], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    pid = int(flow.stdout.readline())
    os.kill(pid, signal.SIGSTOP)
    flow.kill()
    flow.communicate()

    assert asyncio.run(came_to(lambda: is_gone(pid)))
