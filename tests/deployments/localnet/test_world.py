from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments.localnet.cast import CAST, CastMiner
from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.roles import open_chain, wallet_of
from deployments.localnet.setup import prepare
from deployments.localnet.witnesses import true_targets
from storage.records import Head, Neuron, SubnetView
from tasks.edges.peers import Peers, PeerSettings
from tasks.edges.shell import EpochKey, Shell
from tests.deployments.localnet.visiting import begin_proof, is_gone, runner_pid, wait_for

REPOSITORY = Path(__file__).parents[3]
START_LIMIT_S = 30.0

pytestmark = pytest.mark.xdist_group("localnet-world")
"""Its module's fixtures are dear: one worker has them all."""


@pytest.fixture(scope="module")
def localnet(tmp_path_factory, request):
    """A local subnet whose first setup was killed in the middle."""
    folder = tmp_path_factory.mktemp("a world")
    cache = request.config.cache.mkdir("kernels")
    (folder / "cache").symlink_to(cache)
    program = "import sys, pathlib; from deployments.localnet.setup import prepare; prepare(pathlib.Path(sys.argv[1]))"
    killed = subprocess.Popen([sys.executable, "-c", program, str(folder)], cwd=REPOSITORY)
    wait_for(lambda: killed.poll() is not None or (folder / "chain.sqlite").exists(), START_LIMIT_S)
    time.sleep(0.5)
    killed.kill()
    killed.wait()
    return prepare(folder)


@contextlib.contextmanager
def world(localnet):
    """The world as a process; killed at the end of the block if it still lives."""
    command = [sys.executable, "-m", "deployments.localnet.world", "--folder", str(localnet.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="class")
def living(localnet):
    with world(localnet):
        yield


@pytest.fixture
def chain(localnet):
    chain = open_chain(localnet.chain, wallet_of(localnet.wallets, CAST, "validator"))
    yield chain
    chain.close()


def ask_all(localnet, chain, key):
    """Every miner's reply to our validator's signed request."""
    wallet = wallet_of(localnet.wallets, CAST, "validator")
    view = chain.view()

    async def ask():
        async with Peers(wallet.hotkey, PeerSettings(allow_private=True)) as peers:
            hotkeys = [dev_wallet(m.name).hotkey.ss58_address for m in CAST.miners]
            asked = (
                peers.ask(view.by_hotkey(h), view.head.epoch, key.public_line, int(time.time()) + 600)
                for h in hotkeys
            )
            return await asyncio.gather(*asked)

    return asyncio.run(ask())


def a_session(localnet, chain):
    """A session with the first honest machine of one card, let in by its miner."""
    key = EpochKey.generate()
    executors = {e.executor_id: e for reply in ask_all(localnet, chain, key) for e in reply.executors}
    return Shell().open(executors["basalt-2"], key, deadline=time.monotonic() + 20)


def test_setup_survives_a_kill_at_any_step(tmp_path):
    """Killed before each of its steps in turn, the next setup always completes the files, and they are usable."""
    script = Path(__file__).with_name("dying.py")

    told = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stderr
    assert int(told.stdout) > 30


def test_everybody_has_a_place_on_the_chain(localnet, chain):
    """After setup three validators have permits and stake, four miners publish their doors, and uid 0 is the owner's."""
    view = chain.view()
    stakes = {
        v.name: view.by_hotkey(wallet_of(localnet.wallets, CAST, v.name).hotkey.ss58_address)
        for v in CAST.validators
    }
    doors = {m.name: view.by_hotkey(dev_wallet(m.name).hotkey.ss58_address).endpoint for m in CAST.miners}

    assert all(neuron.has_permit and neuron.stake_rao > 2_000 * 10**9 for neuron in stakes.values())
    assert doors == {m.name: f"{m.address}:{m.port}" for m in localnet.miners}
    assert view.by_uid(0).hotkey == view.owner_hotkey


def test_a_second_setup_changes_nothing(localnet, chain):
    """It gives the same record, sends nothing to the chain, leaves every file and costs under a second of CPU."""
    before = {p: p.read_bytes() for p in localnet.folder.rglob("*") if _is_setup(p)}
    updates = [n.last_update_block for n in chain.view().neurons]
    began_s = time.process_time()

    again = prepare(localnet.folder)

    assert again == localnet
    assert time.process_time() - began_s < 1.0
    assert {p: p.read_bytes() for p in before} == before
    assert [n.last_update_block for n in chain.view().neurons] == updates


def test_the_world_answers_and_ends(localnet, chain):
    """Every miner lets our validator in on all its machines, with the cast's addresses; SIGTERM ends it all."""
    with world(localnet) as process:
        replies = ask_all(localnet, chain, EpochKey.generate())
        told = {e.executor_id: (e.address, e.port) for reply in replies for e in reply.executors}
        process.terminate()
        assert process.wait(10) == 0

    assert [reply.reasons for reply in replies] == [()] * 4
    assert told == {m.executor_id: (m.address, m.port) for m in localnet.executors}


@pytest.mark.usefixtures("living")
class TestWhileItLives:
    """One world for all of these; it ends with the last of them."""

    def test_ports_stay(self, localnet):
        """Setting up beside a living world finds its ports taken, by itself, and keeps them."""
        assert prepare(localnet.folder) == localnet

    def test_a_second_world_is_refused(self, localnet):
        """One folder has one world: the second says so in a sentence, with exit code 2."""
        command = [sys.executable, "-m", "deployments.localnet.world", "--folder", str(localnet.folder)]

        told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

        assert told.returncode == 2
        assert "no other local subnet lives" in told.stderr

    def test_witnesses_set_the_truth(self, localnet, chain):
        """Soon after the world begins, both other validators' rows on the chain are what the cast is worth."""
        hotkeys = {m.name: dev_wallet(m.name).hotkey.ss58_address for m in CAST.miners}
        wanted = {t.uid: t.weight for t in true_targets(CAST, hotkeys, chain.view())}
        witnesses = [open_chain(localnet.chain, dev_wallet(v.name)) for v in CAST.validators[1:]]
        try:
            assert wait_for(lambda: all(w.own_weights() for w in witnesses), START_LIMIT_S)
            rows = [{t.uid: t.weight for t in w.own_weights()} for w in witnesses]
        finally:
            for witness in witnesses:
                witness.close()

        assert rows == [pytest.approx(wanted, abs=1e-4)] * 2


def test_a_killed_world_leaves_no_process(localnet, chain):
    """After kill -9 of the world in the middle of a proof, the prover is gone too."""
    with world(localnet) as process:
        plain, proving = a_session(localnet, chain), a_session(localnet, chain)
        pid = runner_pid(plain)
        begin_proof(proving)
        children = _children_of(process.pid)
        assert pid in children
        process.kill()
        process.wait(10)

    assert wait_for(lambda: all(is_gone(child) for child in children))
    plain.close()
    proving.close()


def test_the_world_ends_with_its_parent(localnet):
    """Whoever starts the world may be killed: the world does not outlive it."""
    command = [sys.executable, "-m", "deployments.localnet.world", "--folder", str(localnet.folder)]
    program = f"import subprocess; subprocess.run({command!r})"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as parent:
        assert parent.stdout.readline() == "ready\n"
        (pid,) = _children_of(parent.pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)

        assert wait_for(lambda: is_gone(pid), 10.0)


def test_liars_are_worth_nothing():
    """True weights are the honest machines' market rates, 20 % burned: 3 x 2 USD against 1 x 2 USD, a liar beside."""
    honest = CAST.miners[0].executors[0]
    liar = next(e for e in CAST.executors if e.lie is not None)
    miners = (
        CastMiner("a", "127.0.0.2", (replace(honest, card_count=3),)),
        CastMiner("b", "127.0.0.3", (replace(honest, card_count=1), liar)),
        CastMiner("c", "127.0.0.4", (liar,)),
    )
    cast = replace(CAST, miners=miners)

    targets = true_targets(cast, {"a": "A", "b": "B", "c": "C"}, _view("O", "A", "B", "C"))

    assert {t.hotkey: t.weight for t in targets} == pytest.approx({"O": 0.2, "A": 0.6, "B": 0.2})


def test_a_subnet_without_honest_machines_burns_all():
    """With nothing to pay for, the whole weight goes to the owner."""
    targets = true_targets(CAST, {m.name: m.name for m in CAST.miners}, _view("O"))

    assert [(t.uid, t.hotkey, t.weight) for t in targets] == [(0, "O", 1.0)]


def _view(*hotkeys: str) -> SubnetView:
    """A subnet of these hotkeys, the owner's first."""
    return SubnetView(
        netuid=51,
        head=Head(100, "0x" + "00" * 32, datetime(2026, 11, 22, tzinfo=UTC), 0.25, 50, 51, 101),
        neurons=tuple(_neuron(uid, hotkey) for uid, hotkey in enumerate(hotkeys)),
        owner_hotkey=hotkeys[0],
        weights_version=0,
        weights_rate_limit_blocks=20,
        min_allowed_weights=1,
        is_commit_reveal=False,
    )


def _neuron(uid: int, hotkey: str) -> Neuron:
    return Neuron(
        uid=uid,
        hotkey=hotkey,
        coldkey=hotkey,
        endpoint=None,
        is_active=True,
        has_permit=False,
        stake_rao=0,
        last_update_block=1,
        registered_at_block=1,
        incentive=0.0,
        dividends=0.0,
        collateral_locked_rao=None,
    )


def _is_setup(path: Path) -> bool:
    """Files that setup writes; the chain, its SDK's cache and the shared kernels have a life of their own."""
    return path.is_file() and not path.name.startswith("chain.sqlite") and "sdk-cache" not in path.parts


def _children_of(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found
