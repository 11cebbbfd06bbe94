"""The proof as a step: what the chain and our own faults can cost it."""

import asyncio
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import pytest
from bittensor import sp_core

from kernels.lock import CardLocks
from storage.records import Card, Executor, HostFacts, HostReport, Severity, Verdict
from tasks.crew.opening import crewed
from tasks.edges.signing import sign_statement
from tasks.epoch import Edges, EpochRun, Shard
from tasks.errors import LeftBehind, RunnerRefused
from tasks.inspection.step import inspect
from tasks.policy import DEFAULT, LOCALNET
from tasks.proof import transcript
from tasks.proof.bounds import BoundsSource
from tasks.proof.busy import Statement, read_statement
from tasks.proof.population import Population, SkuKey
from tasks.proof.proving import Occasion, _challenge, _session, not_started, prove_machine, verdicts_of
from tasks.proof.step import ShardOfWave, _wait, newest_head, prove, proving_of
from tasks.proof.wave import MonotonicClock, Wave
from tests.deployments.localnet.visiting import HOTKEY, announced, cast, let_key_in, make, served
from tests.storage.outcomes import executor
from tests.tasks.inspection.runs import edges_in, list_in_state, run_over, station_of
from tests.tasks.proof.rivals import notary
from tests.tasks.scoring.worlds import view


def test_a_chain_that_is_away_costs_the_proof_nothing(tmp_path):
    """When no newer block can be read the seeds bind the epoch's own, and the incident is told."""

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        node = f"ws://127.0.0.1:{nobody.getsockname()[1]}"
        with edges_in(tmp_path, node=node) as edges, run_over(edges) as run:
            head = newest_head(run)
    assert head == run.view.head
    assert [r.code for r in run.incidents] == ["CHAIN_AWAY"]


def listed(machine):
    """A report that lists one L4."""
    card = Card(0, "GPU-1", "NVIDIA L4", 23_034, "580", *[None] * 8)
    return HostReport(machine.key, HostFacts(cards=(card,)), (), None, (), 0.0, 0.0)


def occasion_of(run: EpochRun) -> Occasion:
    return Occasion(51, run.edges.own_hotkey, 350, run.view.head.block_hash, 1, notary())


async def proved(
    run: EpochRun, machines: Sequence[Executor], reports: Sequence[HostReport]
) -> tuple[Verdict, ...]:
    """The proof as a step, with hands of its own."""
    async with crewed(run):
        return await prove(run, machines, reports)


def test_a_machine_is_held_to_what_the_archive_knows_of_its_model(tmp_path):
    """The bounds of a challenge are of the population that the epoch was opened with, by model and size."""

    machine = executor()
    known = Population(median_gb_s=290.0, proofs=50, machines=6, miners=4)
    with edges_in(tmp_path) as edges, run_over(edges, policy=DEFAULT) as run:
        run.populations = {SkuKey("L4", 24_570): known, SkuKey("L40", 49_140): replace(known, machines=9)}
        shard = ShardOfWave(Shard(0, (machine,)), 1, {machine.key: listed(machine)})
        proving = proving_of(run, shard, machine)
        bounds = _challenge(run.policy, occasion_of(run), proving, secrets.token_bytes).bounds

    assert (bounds.population, bounds.source) == (known, BoundsSource.HISTORY)
    assert bounds.min_gb_s == pytest.approx(0.75 * 290.0)


@pytest.mark.filterwarnings("ignore:Logger 'subnet.epoch' attempted")
def test_a_fault_of_ours_leaves_the_wave_and_gives_no_verdict(tmp_path):
    """An error that nobody foresaw in one conversation is that machine's missing verdict: here, of its session."""

    class Broken:
        is_alive, bytes_received = True, 0

        def send(self, *_, **__):
            raise ZeroDivisionError

        def close(self):
            pass

    machine = executor()
    with edges_in(tmp_path) as edges, run_over(edges) as run:
        wave, station = Wave([machine.key], (30.0,) * 8, MonotonicClock()), station_of(run, machine)
        station.hold(machine, Broken())
        proving = proving_of(
            run, ShardOfWave(Shard(0, (machine,)), 1, {machine.key: listed(machine)}), machine
        )
        talked = prove_machine(station, occasion_of(run), wave, proving, secrets.token_bytes)
        (verdict,) = verdicts_of([talked], run.policy)

    assert (verdict.code, verdict.severity) == ("PROVER_LOST", Severity.NO_VERDICT)
    assert wave.members == frozenset()


@pytest.mark.filterwarnings("ignore:Logger 'subnet.hand' attempted")
def test_a_machine_that_no_challenge_can_be_made_for_costs_only_itself(tmp_path):
    """A report with a model that inspection should not have let through: the others of its shard go on."""

    odd, other = (replace(executor(n), address="127.0.0.1", port=1) for n in range(2))
    report = listed(odd)
    unknown = replace(report, facts=HostFacts(cards=(replace(report.facts.cards[0], model="NVIDIA None"),)))
    with edges_in(tmp_path, node="ws://127.0.0.1:1") as edges, run_over(edges) as run:
        list_in_state(run, odd, other)
        told = asyncio.run(proved(run, [odd, other], [unknown, listed(other)]))

    assert [(v.executor_key, v.code) for v in told] == [(other.key, "PROVER_LOST")]


def test_a_prover_that_the_wave_did_not_wait_for_is_no_failure():
    """Its machine was still at starting it when all others were there."""
    why = not_started(LeftBehind())

    assert (why.code, why.severity) == ("PROVER_NOT_READY", Severity.NO_VERDICT)


def test_a_python_that_cannot_run_the_prover_is_told_so():
    """What our program over there says it lacks is its own code with its own mend, not a lost connection."""

    why = not_started(RunnerRefused("NO_PROVER", "No module named 'numba'"))

    assert (why.code, why.severity) == ("PROVER_REFUSED", Severity.FAIL)
    assert why.got == "NO_PROVER: No module named 'numba'"
    assert "pip install numba" in why.mend


class HandTime:
    """Edges whose clock only moves when somebody sleeps."""

    def __init__(self, edges: Edges) -> None:
        self.now, self.slept = 0.0, []
        self.edges = replace(edges, monotonic=lambda: self.now, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def _inspected(machine) -> HostReport:
    card = Card(0, f"GPU-{machine.executor_id}", "NVIDIA L4", 23_034, "580", *[None] * 8)
    return HostReport(machine.key, HostFacts(cards=(card,)), (), None, (), 0.0, 0.0)


@pytest.mark.parametrize(
    ("phase_s", "slept", "verdicts"), [(300.0, [96.0, 48.0], 3), (100.0, [96.0], 2), (90.0, [], 1)]
)
def test_waves_wait_for_their_slots_as_long_as_the_phase_lasts(tmp_path, phase_s, slept, verdicts):
    """Waves go in the order of their slots; one that would begin after the phase's end is left out, without a verdict."""

    policy = replace(LOCALNET, proof=replace(LOCALNET.proof, slot_s=48.0, slots=4, phase_s=phase_s))
    machines = [replace(executor(), miner_hotkey=f"5Miner{n}", port=1, address="127.0.0.1") for n in range(3)]
    with edges_in(tmp_path, node="ws://127.0.0.1:1", max_sessions=1) as edges:
        hand = HandTime(edges)
        with run_over(hand.edges, policy=policy) as run:
            # Block 360 is the first of the third slot of four blocks each, 12 s a block: waves 2, 0 and 1 by turns.
            run.view = replace(run.view, head=replace(run.view.head, block=360))
            list_in_state(run, *machines)
            told = asyncio.run(proved(run, machines, [_inspected(m) for m in machines]))

    assert hand.slept == slept
    assert [v.code for v in told] == ["PROVER_LOST"] * verdicts


@pytest.mark.slow
@pytest.mark.xdist_group("localnet-executors")
def test_a_machine_that_another_validator_holds_is_not_asked_again_in_this_epoch(tmp_path, request):
    """Over SSH: BUSY with the other's word is no verdict, and once its card is free it is not proved by itself.

    Alone it could fill a card that another listing has just had. The transcript is in the state, with the holder's word; what
    goes on to the scores is without it.
    """

    theirs = sp_core.Keypair.create_from_uri("//Theirs")
    folder, stack = tmp_path / "net", ExitStack()
    made = make(folder, ["basalt-2"], request.config.cache.mkdir("kernels"))
    with served(made) as machines, edges_in(tmp_path, node="ws://127.0.0.1:1") as plain, stack:
        machine = announced(folder, machines["basalt-2"])
        with run_over(plain) as run:
            seen = view(theirs.ss58_address)
            run.view = replace(
                run.view, neurons=tuple(replace(n, has_permit=n.uid == 1) for n in seen.neurons)
            )
            list_in_state(run, machine)
            let_key_in(machines["basalt-2"], run.key_of(HOTKEY))
            said = Statement(51, HOTKEY, "basalt-2", theirs.ss58_address, 350, int(time.time()), "ab" * 32)
            locks = CardLocks(made["basalt-2"].environment["SUBNET_PROOF_LOCKS"])

            async def busy() -> tuple[Verdict, ...]:
                async with crewed(run):
                    reports = await inspect(run, [machine])
                    word = sign_statement(theirs, said.lines)
                    stack.enter_context(locks.hold(cast("basalt-2").card_uuids, word))
                    return await prove(run, [machine], reports)

            (verdict,) = asyncio.run(busy())
            kept = run.state.load_outcome(run.epoch)

    assert (verdict.code, verdict.severity, verdict.transcript) == ("BUSY", Severity.NO_VERDICT, b"")
    assert kept is not None
    asked, told = transcript.load(kept.verdicts[0].transcript)
    assert (asked.origin.attempt, read_statement(told.holder)) == (1, said)


class Idle:
    """A session in which nobody says anything."""

    is_alive, is_closed, bytes_received = True, False, 0

    def close(self):
        self.is_closed = True

    def send(self, *_, **__):
        pass


def test_no_more_sessions_are_kept_than_the_settings_say(tmp_path):
    """But for the members of a wave: one session too many is closed, and opened again when its wave comes."""

    machines = [replace(executor(), executor_id=f"m-{n}") for n in range(260)]
    sessions = [Idle() for _ in machines]
    with edges_in(tmp_path, max_open=8) as edges, run_over(edges) as run:
        station = station_of(run)
        for machine, session in zip(machines, sessions, strict=True):
            station.hold(machine, session)
        assert [s.is_closed for s in sessions] == [False] * 256 + [True] * 4
        assert station.session_of(machines[256].key) is None
        station.release_but([machines[0].key])
        assert [s.is_closed for s in sessions].count(False) == 1
        assert station.session_of(machines[0].key) is sessions[0]


def test_sessions_of_later_waves_stay_open(tmp_path):
    """More than one wave has: else most machines of a large network would be logged in to twice."""

    machines = [replace(executor(), executor_id=f"m-{n}") for n in range(300)]
    sessions = [Idle() for _ in machines]
    with edges_in(tmp_path) as edges, run_over(edges) as run:
        station = station_of(run)
        for machine, session in zip(machines, sessions, strict=True):
            station.hold(machine, session)

    assert [s.is_closed for s in sessions] == [False] * 300


def test_no_more_sessions_are_kept_than_there_are_files_for(tmp_path, monkeypatch):
    """A process that may open a thousand files keeps what is left of them beside the machines that it talks to."""

    monkeypatch.setattr("resource.getrlimit", lambda _which: (1_024, 1_024))
    sessions = [Idle() for _ in range(300)]
    with edges_in(tmp_path) as edges, run_over(edges) as run:
        station = station_of(run)
        for n, session in enumerate(sessions):
            station.hold(replace(executor(), executor_id=f"m-{n}"), session)

    assert [s.is_closed for s in sessions].count(False) == 256


@pytest.mark.parametrize(
    ("begins_at", "kept"), [((0.0, 0.0, 119.0), "abc"), ((0.0, 288.0, 576.0), "a"), ((150.0,), "")]
)
def test_a_wave_that_begins_soon_keeps_its_sessions(begins_at, kept):
    """Those that are due now or within two minutes; a wave in a later slot logs in again."""

    told = []

    async def keep(keys, *, is_rest_closed):
        told.append((tuple(keys), is_rest_closed))

    async def sleep(seconds):
        pass

    waves = [((SimpleNamespace(key=key),), at) for key, at in zip("abc", begins_at, strict=False)]
    run = SimpleNamespace(
        clock=lambda: 0.0, hands=SimpleNamespace(keep=keep), edges=SimpleNamespace(sleep=sleep)
    )

    assert asyncio.run(_wait(run, waves, 300.0))
    assert told == [(tuple(kept), True)]


def test_a_session_that_a_proof_opens_is_kept_however_many_there_are(tmp_path, monkeypatch):
    """Waves are shared out by whole shards: a hand that has more of one than its share of sessions opens them all the same."""

    machines = [replace(executor(), executor_id=f"m-{n}") for n in range(257)]
    with edges_in(tmp_path) as edges, run_over(edges) as run:
        station, opened = station_of(run, *machines), Idle()
        for machine in machines[:-1]:
            station.hold(machine, Idle())
        monkeypatch.setattr(station, "shell", SimpleNamespace(open=lambda *_, **__: opened))
        session = _session(station, machines[-1], deadline=station.clock() + 9.0)
        assert not session.is_closed
        station.release([machines[-1].key])

    assert session is opened
    assert session.is_closed
