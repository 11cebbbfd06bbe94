"""The proof as a step: what the chain and our own faults can cost it."""

import asyncio
import socket

import pytest

from storage.records import Card, HostFacts, HostReport, Severity
from tasks.epoch import Shard
from tasks.proof.step import Occasion, ShardOfWave, newest_head, notary_of, prove_shard
from tasks.proof.wave import MonotonicClock, Wave
from tests.storage.outcomes import executor
from tests.tasks.inspection.runs import edges_in, list_in_state, run_over


def test_a_chain_that_is_away_costs_the_proof_nothing(tmp_path):
    """When no newer block can be read the seeds bind the epoch's own, and the incident is told."""

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        node = f"ws://127.0.0.1:{nobody.getsockname()[1]}"
        with edges_in(tmp_path, node=node) as edges, run_over(edges) as run:
            head = newest_head(run)
    assert head == run.view.head
    assert [r.code for r in run.incidents] == ["CHAIN_AWAY"]


@pytest.mark.filterwarnings("ignore:Logger 'subnet.epoch' attempted")
def test_a_fault_of_ours_leaves_the_wave_and_gives_no_verdict(tmp_path):
    """An error that nobody foresaw in one conversation is that machine's missing verdict: here, of its session."""

    class Broken:
        is_alive, bytes_received = True, 0

        def send(self, frame, *, deadline):
            raise ZeroDivisionError

        def close(self):
            pass

    machine = executor()
    card = Card(0, "GPU-1", "NVIDIA L4", 23_034, "580", *[None] * 8)
    report = HostReport(machine.key, HostFacts(cards=(card,)), (), None, (), 0.0, 0.0)
    with edges_in(tmp_path) as edges, run_over(edges) as run:
        list_in_state(run, machine)
        wave = Wave([machine.key], (30.0,) * 8, MonotonicClock())
        occasion = Occasion(wave, run.view.head, 1, notary_of(run))
        run.hold(machine, Broken())
        shard = ShardOfWave(Shard(0, (machine,)), occasion, {machine.key: report})
        (verdict,) = asyncio.run(prove_shard(run, shard))

    assert (verdict.code, verdict.severity) == ("PROVER_LOST", Severity.NO_VERDICT)
    assert wave.members == frozenset()
