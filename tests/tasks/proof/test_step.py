"""The proof as a step: what the chain and our own faults can cost it."""

import asyncio
import socket
from dataclasses import replace

import pytest

from storage.records import Card, HostFacts, HostReport, Severity
from tasks.epoch import Shard
from tasks.policy import DEFAULT
from tasks.proof.bounds import BoundsSource
from tasks.proof.population import Population, SkuKey
from tasks.proof.step import ShardOfWave, _challenge, newest_head, prove_shard
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


def listed(machine):
    """A report that lists one L4."""
    card = Card(0, "GPU-1", "NVIDIA L4", 23_034, "580", *[None] * 8)
    return HostReport(machine.key, HostFacts(cards=(card,)), (), None, (), 0.0, 0.0)


def test_a_machine_is_held_to_what_the_archive_knows_of_its_model(tmp_path):
    """The bounds of a challenge are of the population that the epoch was opened with, by model and size."""

    machine = executor()
    known = Population(median_gb_s=290.0, proofs=50, machines=6, miners=4)
    with edges_in(tmp_path) as edges, run_over(edges, policy=DEFAULT) as run:
        run.populations = {SkuKey("L4", 24_570): known, SkuKey("L40", 49_140): replace(known, machines=9)}
        shard = ShardOfWave(Shard(0, (machine,)), None, run.view.head, {machine.key: listed(machine)})
        bounds = _challenge(run, shard, machine).bounds

    assert (bounds.population, bounds.source) == (known, BoundsSource.HISTORY)
    assert bounds.min_gb_s == pytest.approx(0.75 * 290.0)


@pytest.mark.filterwarnings("ignore:Logger 'subnet.epoch' attempted")
def test_a_fault_of_ours_leaves_the_wave_and_gives_no_verdict(tmp_path):
    """An error that nobody foresaw in one conversation is that machine's missing verdict: here, a session that is not held."""

    machine = executor()
    with edges_in(tmp_path) as edges, run_over(edges) as run:
        list_in_state(run, machine)
        wave = Wave([machine.key], (30.0,) * 8, MonotonicClock())
        shard = ShardOfWave(Shard(0, (machine,)), wave, run.view.head, {machine.key: listed(machine)})
        (verdict,) = asyncio.run(prove_shard(run, shard))

    assert (verdict.code, verdict.severity) == ("PROVER_LOST", Severity.NO_VERDICT)
    assert wave.members == frozenset()
