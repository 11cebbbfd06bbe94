from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.farm import farm_cast, prepare_farm
from deployments.localnet.roles import open_chain, wallet_of
from deployments.localnet.scripted import MODEL
from tasks.edges.peers import Peers, PeerSettings
from tasks.edges.shell import EpochKey, Shell
from tasks.errors import HostAway, SettingError
from tasks.inspection.facts import COMMANDS, read_facts
from tasks.inspection.models import find
from tasks.inspection.talk import ask_facts, measure_bandwidth, start_prover, start_runner
from tasks.policy import LOCALNET
from tasks.proof.archive import prover_archive
from tasks.proof.challenge import Origin, challenge_for
from tasks.proof.conversation import converse
from tasks.proof.verdict import verify_shard
from tasks.proof.wave import MonotonicClock, Wave, gate_limits_s

REPOSITORY = Path(__file__).parents[3]
EXECUTORS, MINERS = 12, 2
SMALL = replace(LOCALNET.proof, memory_scale=1 << 22, chain_w=2, walkers=32, fast_walkers=32)
PATIENCE_S = 60.0

pytestmark = pytest.mark.xdist_group("localnet-farm")
"""Its module's fixtures are dear: one worker has them all."""


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    """The farm's process and what a validator needs to find it."""
    folder = tmp_path_factory.mktemp("farm")
    command = [sys.executable, "-m", "deployments.localnet.farm", "--folder", str(folder)]
    command += ["--executors", str(EXECUTORS), "--miners", str(MINERS)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process, prepare_farm(folder, EXECUTORS, MINERS)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def key():
    return EpochKey.generate()


@pytest.fixture(scope="module")
def executors(farm, key):
    """All machines, as their miners announce them to our validator."""
    _, localnet = farm
    wallet = wallet_of(localnet.wallets, localnet.cast, localnet.validator)
    chain = open_chain(localnet.chain)
    view = chain.view()
    chain.close()

    async def ask():
        async with Peers(wallet.hotkey, PeerSettings(allow_private=True)) as peers:
            neurons = [view.by_hotkey(dev_wallet(m.name).hotkey.ss58_address) for m in localnet.miners]
            until = int(time.time()) + 600
            return await asyncio.gather(*(peers.ask(n, 1, key.public_line, until) for n in neurons))

    replies = asyncio.run(ask())
    assert [(len(r.executors), r.reasons) for r in replies] == [(EXECUTORS // MINERS, ())] * MINERS
    return [e for reply in replies for e in reply.executors]


def test_the_farm_is_a_network_of_honest_machines(farm, executors, key):
    """Every machine is visited and proved as a real one: facts with a card of its own, bandwidth, a whole wave."""
    shell = Shell()
    wave = Wave([e.key for e in executors], gate_limits_s(SMALL, PATIENCE_S), MonotonicClock())

    def visit(executor):
        until = time.monotonic() + PATIENCE_S
        with shell.open(executor, key, deadline=until) as session:
            start_runner(session, deadline=until)
            outputs = ask_facts(session, COMMANDS, deadline=until)
            card = read_facts({output.name: output for output in outputs})[0].cards[0]
            bandwidth = measure_bandwidth(session, 4_096, deadline=until)
            origin = Origin(51, 1, "0x" + "ab" * 32, "5V", executor.miner_hotkey, executor.executor_id, 1)
            size = find(card.model).skus[0]
            challenge = challenge_for(origin, size, [(0, card.uuid)], SMALL, secrets.token_bytes)
            with wave.seat(executor.key):
                start_prover(session, prover_archive().content, "~/.cache/subnet", deadline=until)
                reply = converse(session, challenge, wave, MonotonicClock(), SMALL, secrets.token_bytes)
        return card, bandwidth, (challenge, reply)

    with ThreadPoolExecutor(EXECUTORS) as pool:
        cards, bandwidths, told = zip(*pool.map(visit, executors), strict=True)

    assert {find(card.model) for card in cards} == {find(MODEL)}
    assert len({card.uuid for card in cards}) == EXECUTORS
    assert all(b.up_mbit_s > 0 and b.down_mbit_s > 0 for b in bandwidths)
    assert [verdict.code for verdict in verify_shard(told)] == ["PROVED"] * EXECUTORS


def test_each_machine_has_its_own_address_and_host_key(executors):
    """No two share either, so that a validator's pinning and pacing meet what they would in the world."""
    assert len({e.address for e in executors}) == len({e.host_key for e in executors}) == EXECUTORS


def test_the_farm_lets_no_other_key_in(executors):
    """Its doors are the real executors' doors."""
    with pytest.raises(HostAway) as refused:
        Shell().open(executors[0], EpochKey.generate(), deadline=time.monotonic() + 10)

    assert refused.value.phase == "auth"


def test_the_farm_counts_its_own_cpu(farm, executors, key):
    """A line `cpu` is answered with seconds whose parts make the whole, and visits raise them."""
    process, _ = farm
    before = _cpu(process)
    for executor in executors[:4]:
        Shell().open(executor, key, deadline=time.monotonic() + 10).close()
    after = _cpu(process)

    assert after["ssh_s"] > before["ssh_s"]
    assert after["total_s"] == pytest.approx(after["ssh_s"] + after["prover_s"])


def test_the_farm_ends_on_sigterm_with_its_account(tmp_path):
    """It says its CPU seconds once more, and ends at once."""
    command = [
        sys.executable,
        "-m",
        "deployments.localnet.farm",
        "--folder",
        str(tmp_path),
        "--executors",
        "1",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.terminate()
            last = json.loads(process.stdout.readline())
            assert process.wait(10) == 0
        finally:
            process.kill()

    assert sorted(last) == ["prover_s", "ssh_s", "total_s"]


def test_a_farm_of_several_processes_is_one(tmp_path):
    """It is ready when all of them are, counts the CPU of all, and ends with all."""
    command = [sys.executable, "-m", "deployments.localnet.farm", "--folder", str(tmp_path)]
    command += ["--executors", "4", "--miners", "2", "--processes", "2"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            threads = Path(f"/proc/{process.pid}/task").glob("*/children")
            forked = [int(pid) for children in threads for pid in children.read_text().split()]
            used = _cpu(process)
            process.terminate()
            last = json.loads(process.stdout.readline())
            assert process.wait(30) == 0
        finally:
            process.kill()

    assert len(forked) == 2
    assert used["total_s"] == pytest.approx(used["ssh_s"] + used["prover_s"])
    assert last["total_s"] >= used["total_s"]
    assert not any(Path(f"/proc/{pid}").exists() for pid in forked)


@pytest.mark.parametrize(
    ("executors", "miners", "key"),
    [(0, 1, "executors"), (10_001, 40, "executors"), (257, 1, "miners"), (3, 4, "miners")],
)
def test_an_impossible_farm_is_refused(executors, miners, key):
    """Between 1 and 10,000 machines, at most 256 a miner, and no miner without any."""
    with pytest.raises(SettingError) as refused:
        farm_cast(executors, miners)

    assert refused.value.key == key


def test_ten_thousand_machines_have_as_many_addresses():
    """The cast of the largest farm repeats no address, id or card."""
    machines = farm_cast(10_000, 40).executors

    assert len({m.address for m in machines}) == len({m.card_uuids for m in machines}) == 10_000


def _cpu(process) -> dict[str, float]:
    process.stdin.write("cpu\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())
