"""Inspection as a step: what one machine can cost the others, and whose card it is when two list it."""

import asyncio
import stat
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from storage.records import (
    Ban,
    BanKind,
    Card,
    Executor,
    ExecutorRecord,
    HostFacts,
    HostReport,
    MinerReply,
    Reason,
    Severity,
)
from storage.state import State
from tasks.discovery import certificates_of
from tasks.edges.shell import HOST_KEY_PREFIX, EpochKey
from tasks.epoch import EpochRun
from tasks.inspection.step import in_turns, with_duplicates
from tasks.inspection.visit import visit
from tasks.policy import LOCALNET, ShadowPolicy
from tests.tasks.edges.certified import certificate_of
from tests.tasks.edges.honest import serving
from tests.tasks.inspection.runs import NOON, edges_in, inspected, list_in_state, run_over, station_of

MACHINE = Executor(
    "one", "5Miner", 1, 1, "127.0.0.1", 1, "subnet", "/usr/bin/python3", HOST_KEY_PREFIX + bytes(32), 1.0
)
UUID = "GPU-00000000-0000-0000-0000-000000000001"

STALLS = """
import base64, json, sys, time
def frame():
    return sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(4), "big"))
frame()
names = [c["name"] for c in json.loads(frame())["commands"]]
fact = {"exit": 1, "stdout": "", "stderr": "", "seconds": 0.0, "truncated": False}
told = json.dumps({"facts": [{"name": name, **fact} for name in names]}).encode()
sys.stdout.buffer.write(len(told).to_bytes(4, "big") + told)
sys.stdout.flush()
time.sleep(60)
"""
"""A machine that answers at once to everything but the bandwidth's probe."""


def machine(miner: str, name: str, *, registered_at_block: int = 1) -> Executor:
    return Executor(name, miner, 1, registered_at_block, "127.0.0.1", 22, "u", "/usr/bin/python3", b"", 1.0)


def listing(executor: Executor, *uuids: str) -> HostReport:
    cards = tuple(Card(i, u, "NVIDIA L4", 23_034, "580", *[None] * 8) for i, u in enumerate(uuids))
    return HostReport(executor.key, HostFacts(cards=cards), (), None, (), 0.0, 0.0)


def under(folder: Path, text: str) -> str:
    """The path of an interpreter that runs this program, whatever it is told to run."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def visited(run: EpochRun, machine: Executor, *, left_s: float = 60.0) -> HostReport:
    station = station_of(run, machine)
    return visit(station, machine, run.record_of(machine.key), station.clock() + left_s)


def policy(**changes: object):
    return replace(LOCALNET, inspection=replace(LOCALNET.inspection, **changes))


@pytest.mark.filterwarnings("ignore:Logger 'subnet.hand' attempted")
def test_a_fault_of_ours_costs_one_machine_its_verdict(tmp_path, monkeypatch):
    """An error that nobody foresaw, met on one machine, is that machine's missing verdict, and the phase ends.

    A check raises, when all facts are in; the session is closed all the same.
    """

    monkeypatch.setattr("tasks.inspection.visit.check_host", lambda *_: 1 // 0)
    with (
        edges_in(tmp_path) as edges,
        run_over(edges) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):
        executors = (host.executor(), host.executor(executor_id="two", port=1))
        list_in_state(run, *executors)
        ours, theirs = asyncio.run(inspected(run, executors))

    assert [(r.code, r.severity) for r in ours.reasons] == [("VALIDATOR_FAILED", Severity.NO_VERDICT)]
    assert [r.code for r in theirs.reasons] == ["HOST_UNREACHABLE"]


def test_a_machine_is_visited_by_its_certificate(tmp_path):
    """A machine whose miner signed for our key is entered by that; its neighbour without one by the bare key; a stranger's is refused."""

    with edges_in(tmp_path) as edges, run_over(edges) as run:
        mine, other = (replace(MACHINE, executor_id=name) for name in ("one", "two"))
        line = certificate_of(run.key_of(mine.miner_hotkey).public_line)
        reply = MinerReply("5Miner", 1, (mine, other), (), certificates=(("one", line),))
        run.certificates = certificates_of([reply])

        station = station_of(run, mine, other)

        assert station.key_for(mine).signer.public_blob.key_type == "ssh-ed25519-cert-v01@openssh.com"
        assert station.key_for(other) == run.key_of("5Miner")
        run.certificates = {mine.key: certificate_of(EpochKey.generate().public_line)}
        report = visit(station_of(run, mine), mine, ExecutorRecord(mine.key), station.clock() + 9.0)
        assert [r.code for r in report.reasons] == ["HOST_BAD_ANSWER"]


def test_a_machine_that_stalls_gives_its_turn_back(tmp_path):
    """Who falls silent in the middle of its bandwidth's measurement holds the turn for the turn's time only."""

    with (
        edges_in(tmp_path) as edges,
        run_over(edges, policy=policy(session_deadline_s=40.0, bandwidth_turn_s=0.3)) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):
        began, machine = time.monotonic(), host.executor(python=under(tmp_path, STALLS))
        report = visited(run, machine)
        took_s = time.monotonic() - began

    assert [r.code for r in report.reasons] == ["HOST_TIMEOUT"]
    assert took_s < 20


def test_who_gets_no_turn_is_judged_by_what_is_known(tmp_path):
    """When others hold all turns, the bandwidth of earlier epochs counts, and none is no verdict instead of a failure."""

    known = ExecutorRecord("5Miner/one", NOON, up_mbit_s=500.0, down_mbit_s=500.0)
    turns = policy(session_deadline_s=8.0, bandwidth_turn_s=7.9, bandwidth_probes_at_once=1)
    with (
        edges_in(tmp_path) as edges,
        run_over(edges, policy=turns, records={known.executor_key: known}) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):
        mine, new = host.executor(), host.executor(executor_id="new")
        station = station_of(run, mine, new)
        with station.probe_slot(run.clock()) as is_held:
            assert is_held
            with_history = visit(station, mine, known, station.clock() + 60.0)
            without = visit(station, new, ExecutorRecord(new.key), station.clock() + 60.0)

    assert with_history.bandwidth is None
    assert "NETWORK_SPEED_TOO_SLOW" not in {r.code for r in with_history.reasons}
    assert [r.severity for r in without.reasons if r.code == "NETWORK_SPEED_TOO_SLOW"] == [
        Severity.NO_VERDICT
    ]


def test_visits_end_with_their_phase(tmp_path):
    """After the phase's end no machine is connected to any more, and each has its missing verdict."""

    with (
        edges_in(tmp_path) as edges,
        run_over(edges) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):
        report = visited(run, host.executor(), left_s=-1.0)

        assert host.connections == 0
    assert [(r.code, r.severity) for r in report.reasons] == [("HOST_TIMEOUT", Severity.NO_VERDICT)]


def test_hundreds_of_one_miner_come_after_the_first_of_each():
    """Machines on a run of passed epochs are visited first, then each miner's first, second, and so on."""

    crowd = [machine("5Crowd", f"m-{n}") for n in range(300)]
    known, new = machine("5Zed", "known"), machine("5Zed", "new")
    records = {known.key: ExecutorRecord(known.key, NOON, passed_since=NOON)}

    order = in_turns([*crowd, new, known], records)

    assert [e.key for e in order[:3]] == ["5Zed/known", "5Crowd/m-0", "5Zed/new"]
    assert sorted(e.key for e in order) == sorted(e.key for e in [*crowd, new, known])


def test_strangers_for_whom_nobody_waits_come_first():
    """Each holds a place for seconds only, and is through while the others are visited; who was not come to is before them."""
    known, new, fallen, waiting = (machine("5Alice", f"a-{n}") for n in range(4))
    records = {
        known.key: ExecutorRecord(known.key, passed_since=NOON),
        waiting.key: ExecutorRecord(waiting.key, passed_since=NOON, carried_over=1),
    }
    strangers = frozenset({new.key, fallen.key})

    assert in_turns([known, new, fallen, waiting], records, strangers) == (waiting, new, fallen, known)


def test_who_was_not_come_to_is_first_the_next_time():
    """Whoever waits longest comes before the machines on a run of passed epochs."""

    known, once, twice, new = (machine("5Zed", name) for name in ("known", "once", "twice", "new"))
    records = {
        known.key: ExecutorRecord(known.key, NOON, passed_since=NOON),
        once.key: ExecutorRecord(once.key, carried_over=1),
        twice.key: ExecutorRecord(twice.key, carried_over=2),
    }

    assert in_turns([new, known, once, twice], records) == (twice, once, known, new)


def test_a_visit_tells_how_long_each_step_took(tmp_path):
    """The steps follow each other, and come to no more than the visit."""

    with (
        edges_in(tmp_path) as edges,
        run_over(edges) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):
        report = visited(run, host.executor())

    names = [step.name for step in report.steps]
    assert names == ["turn", "connect", "handshake", "login", "open", "facts", "bandwidth"]
    assert all(step.seconds >= 0.0 for step in report.steps)
    assert sum(step.seconds for step in report.steps) <= report.duration_s


def test_a_card_is_not_lost_by_being_away():
    """A card that an absent machine holds on an unbroken run can't be taken over by who lists it meanwhile.

    The thief is registered longer; only when the owner has lost its run, the card is free.
    """
    owner, thief = machine("5Owner", "a", registered_at_block=900), machine("5Thief", "b")
    held = ExecutorRecord(owner.key, NOON, 5, 5, 5, NOON, model="NVIDIA L4", card_count=1, card_uuids=(UUID,))
    reports, executors = [listing(owner), listing(thief, UUID)], [owner, thief]

    away, stolen = with_duplicates(reports, executors, {owner.key: held})
    _, free = with_duplicates(reports, executors, {owner.key: replace(held, passed_since=None)})

    assert away.reasons == ()
    assert [r.code for r in stolen.reasons] == ["UUID_DUPLICATE"]
    assert free.reasons == ()


def test_a_machine_that_fails_strikes_nobody_out():
    """An older miner lists a newcomer's card on a machine that fails: the newcomer is paid, unless the other has passed before."""

    squatter, newcomer = (
        machine("5Old", "a", registered_at_block=1),
        machine("5New", "b", registered_at_block=900),
    )
    failing = replace(
        listing(squatter, UUID), reasons=(Reason("RAM_BELOW_MINIMUM", Severity.FAIL, "", "", ""),)
    )
    reports, executors = [failing, listing(newcomer, UUID)], [squatter, newcomer]
    passed = ExecutorRecord(squatter.key, NOON, 5, 5, 5, NOON, "NVIDIA L4", 1, (UUID,))

    _, paid = with_duplicates(reports, executors, {})
    _, second = with_duplicates(reports, executors, {squatter.key: passed})

    assert paid.reasons == ()
    assert [r.code for r in second.reasons] == ["UUID_DUPLICATE"]


def test_the_owner_is_back_before_the_thief():
    """A machine that has waited for long without any card has no older claim to the one that it lists at last."""

    owner, thief = machine("5Owner", "a", registered_at_block=900), machine("5Thief", "b")
    records = {
        owner.key: ExecutorRecord(owner.key, NOON, 5, 5, 5, NOON, "NVIDIA L4", 1, (UUID,)),
        thief.key: ExecutorRecord(thief.key, NOON - timedelta(days=30), epochs_seen=900),
    }

    back, stolen = with_duplicates([listing(owner, UUID), listing(thief, UUID)], [owner, thief], records)

    assert back.reasons == ()
    assert [r.code for r in stolen.reasons] == ["UUID_DUPLICATE"]


@pytest.mark.parametrize(("leased", "code"), [(False, "MINER_BANNED"), (True, "BANNED_WHILE_LEASED")])
def test_a_ban_is_found_whatever_the_machine_does(tmp_path, leased, code):
    """A machine that nobody reaches is told of its ban too; the run knows it for scoring, and the state has the report."""
    banned = machine("5Banned", "one")
    with edges_in(tmp_path) as edges:
        State(edges.engine).add_ban(
            Ban(BanKind.MINER, "5Banned", "lies", NOON - timedelta(days=1), None, "ops")
        )
        with run_over(edges) as run:
            run.leased_keys = frozenset({banned.key} if leased else ())
            list_in_state(run, banned)
            (report,) = asyncio.run(inspected(run, [banned]))
            kept = run.state.load_outcome(run.epoch).reports

    assert report.reasons[-1].code == code
    assert run.banned_codes == {banned.key: "MINER_BANNED"}
    assert kept == (report,)


@pytest.mark.parametrize("checks", [(), ("DISK_BELOW_MINIMUM",)])
def test_a_check_in_shadow_is_told_and_decides_nothing(tmp_path, checks):
    """The reason stands in the report either way; in shadow it keeps nobody from the proof."""
    strict = policy(min_disk_free_bytes=1 << 60)
    with (
        edges_in(tmp_path) as edges,
        run_over(edges, policy=replace(strict, shadow=ShadowPolicy(checks=checks))) as run,
        serving(run.key_of("5Miner"), tmp_path) as host,
    ):
        list_in_state(run, host.executor())
        (report,) = asyncio.run(inspected(run, [host.executor()]))

    (disk,) = [reason for reason in report.reasons if reason.code == "DISK_BELOW_MINIMUM"]
    assert (disk.is_shadow, disk.decides) == (bool(checks), not checks)
