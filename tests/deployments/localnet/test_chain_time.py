"""The lazy clock, history, and the file: what blocks are, and what many processes may do to it."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import bittensor as bt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.chain.clock import Anchor, Clock, ManualClock, reanchored
from deployments.localnet.chain.genesis import genesis
from deployments.localnet.chain.ledger import Ledger, LedgerError
from deployments.localnet.chain.state import Hyperparameters
from tasks.errors import SettingError

NETUID = 51
RAO = 1_000_000_000
ROOT = Path(__file__).parents[3]


def make_chain(path, **options):
    owner = dev_wallet("owner")
    wallets = [dev_wallet(f"p{i}") for i in range(4)]
    return genesis(
        path,
        owner_coldkey=owner.coldkey.ss58_address,
        owner_hotkey=owner.hotkey.ss58_address,
        accounts={w.coldkey.ss58_address: 1000 * RAO for w in wallets},
        **options,
    )


# --- the clock


def test_blocks_follow_the_time():
    """A block every 250 ms from the anchor on."""
    clock = Clock((Anchor(10, 1_000),), 250)

    assert [clock.block_at(t) for t in (1_000, 1_249, 1_250, 2_000)] == [10, 10, 11, 14]
    assert [clock.begins_ms(b) for b in (10, 11, 14)] == [1_000, 1_250, 2_000]


def test_old_blocks_keep_their_time_over_a_gap():
    """After a new anchor earlier blocks began when they began."""
    clock = Clock((Anchor(10, 1_000), Anchor(15, 900_000)), 250)

    assert [clock.begins_ms(b) for b in (12, 14, 15, 16)] == [1_500, 2_000, 900_000, 900_250]


def test_blocks_advanced_by_hand_begin_no_later_than_the_head():
    """Times never decrease, also when many blocks passed at once."""
    clock = Clock((Anchor(10, 1_000), Anchor(100, 1_300)), 250)

    assert [clock.begins_ms(b) for b in (11, 12, 99, 100)] == [1_250, 1_300, 1_300, 1_300]


@given(
    gaps=st.lists(st.tuples(st.integers(1, 500), st.integers(0, 10**6)), max_size=5),
    blocks=st.lists(st.integers(0, 3_000), min_size=2, max_size=8),
)
def test_time_never_runs_backwards(gaps, blocks):
    """Whatever anchors there are, a later block begins no earlier."""
    anchors = [Anchor(1, 0)]
    for step, pause in gaps:
        anchors.append(Anchor(anchors[-1].block + step, anchors[-1].at_ms + pause))
    clock = Clock(tuple(anchors), 250)

    times = [clock.begins_ms(b) for b in sorted(blocks)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("now_ms", "anchor"),
    [
        (10_000 + 600_000, None),
        (10_000 + 600_001, Anchor(37 + 240, 610_001)),
        (10_000 - 5_000, None),
        (10_000 - 5_001, Anchor(37 + 240, 4_999)),
    ],
)
def test_the_chain_stands_still_when_nobody_looks(now_ms, anchor):
    """Longer than 600 s away, or a clock put back: the chain goes on from what could have been seen."""
    clock = Clock((Anchor(1, 1_000),), 250)  # block 37 begins at 10,000; a tenth of the limit is 240 blocks

    assert reanchored(clock, now_ms=now_ms, seen_ms=10_000, idle_ms=600_000) == (
        anchor and Anchor(anchor.block + 1, anchor.at_ms)
    )


# --- catching up


def test_due_epochs_run_when_somebody_looks(world):
    """A minute passes unseen: 240 blocks, 4 epochs."""
    world.settle()
    before = world.subtensor.epochs.epoch_status(NETUID)
    world.clock.at_s += 60
    after = world.subtensor.epochs.epoch_status(NETUID)

    assert after["block"] - before["block"] == 240
    assert after["epoch_index"] - before["epoch_index"] in (4, 5)


def test_a_night_is_no_time(world):
    """Eight hours unseen are no blocks but those that might have been seen, and nobody falls inactive."""
    world.settle()
    before = world.subtensor.block
    world.clock.at_s += 8 * 3600

    assert 0 < world.subtensor.block - before <= 241
    assert all(n.active for n in world.metagraph())
    late = world.subtensor.timestamp().timestamp()
    assert late == pytest.approx(world.clock.at_s, abs=0.3)
    assert world.subtensor.timestamp(block=before).timestamp() < late - 7 * 3600


def test_a_thousand_tempos_are_caught_up_quickly(world):
    """1,000 epochs of eight neurons in one access, under 3 s of CPU."""
    world.settle()
    index = world.subtensor.epochs.epoch_status(NETUID)["epoch_index"]
    began = time.process_time()
    world.substrate.advance(50_000)

    assert time.process_time() - began < 3.0
    assert world.subtensor.epochs.epoch_status(NETUID)["epoch_index"] == index + 1000


def test_a_metagraph_is_read_within_20_ms(world):
    """The best of ten reads of eight neurons."""
    world.settle()
    times = []
    for _ in range(10):
        began = time.perf_counter()
        world.subtensor.subnets.metagraph(NETUID)
        times.append(time.perf_counter() - began)

    assert min(times) < 0.020


# --- history


def test_a_pinned_view_stays_what_it_was(world):
    """What is submitted at a block changes the next one: the view of this one does not move."""
    world.settle()
    pinned = world.subtensor.at()
    before = pinned.subnets.metagraph(NETUID)
    world.run("m1", bt.ServeAxon(netuid=NETUID, ip="127.0.0.9", port=9))
    again = pinned.subnets.metagraph(NETUID)

    assert (again.block, again.neuron(4).axon) == (before.block, before.neuron(4).axon)
    assert world.metagraph().neuron(4).axon == "127.0.0.9:9"


def test_past_epochs_are_answered_as_they_were(world):
    """Each block of the past has the epoch state of its own time."""
    world.settle()
    began = world.subtensor.block
    world.substrate.advance(500)

    for block in range(began, began + 500, 61):
        status = world.subtensor.at(block).epochs.epoch_status(NETUID)
        assert (block - 1) // 50 * 50 + 1 == status["last_epoch_block"]
        assert status["block"] == block


def test_discarded_states_are_said_to_be(world):
    """After 1,000 tempos the beginning is forgotten, the last epochs are not."""
    world.settle()
    world.substrate.advance(50_000)

    with pytest.raises(bt.ChainError, match="discarded"):
        world.subtensor.at(60).subnets.metagraph(NETUID)
    assert world.subtensor.at(world.subtensor.block - 200 * 50).subnets.metagraph(NETUID) is not None


def test_block_hashes_lead_back_to_their_blocks(world):
    """A hash is opaque, but this chain's file knows its block; other chains don't."""
    ledger = world.substrate.ledger
    hashes = [ledger.block_hash(b) for b in range(50)]

    assert [ledger.block_of(h) for h in hashes] == list(range(50))
    assert len({h[:10] for h in hashes}) == 50
    for foreign in ("0x" + "00" * 32, "0x12", "no hash"):
        with pytest.raises(LedgerError):
            ledger.block_of(foreign)


def test_blocks_to_come_have_no_hash(world):
    """Nobody can know a block's hash before it begins."""
    with pytest.raises(bt.ChainError, match="not there yet"):
        world.subtensor.query(("SubtensorModule", "Tempo"), [NETUID], block=world.subtensor.block + 1)


# --- genesis


def test_genesis_is_idempotent(tmp_path):
    """The second call finds the first one's chain, funds and all."""
    path = tmp_path / "deep" / "chain.db"

    assert make_chain(path) is True
    before = Ledger(path)
    seed = before.block_hash(7)
    before.close()
    assert make_chain(path, hyperparameters=Hyperparameters(tempo=7)) is False
    after = Ledger(path)
    assert (after.block_hash(7), after.pending().hyperparameters.tempo) == (seed, 50)
    after.close()


def test_genesis_refuses_other_files(tmp_path):
    """Text, somebody's database and another subnet's chain are left alone, with a clear sentence."""
    text = tmp_path / "text"
    text.write_text("hello, this is no database at all" * 50)
    database = tmp_path / "database"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    chain = tmp_path / "chain"
    make_chain(chain)

    for path in (text, database):
        with pytest.raises(SettingError, match="expected a local chain, or no file"):
            make_chain(path)
    with pytest.raises(SettingError, match="netuid is '7', expected 51"):
        make_chain(chain, netuid=7)
    assert text.read_text().startswith("hello")


def test_a_missing_or_foreign_file_is_no_chain(tmp_path):
    """Opening says what is wrong and makes nothing."""
    missing = tmp_path / "missing"
    with pytest.raises(LedgerError, match="does not exist"):
        Ledger(missing).head()
    assert not missing.exists()

    (tmp_path / "text").write_text("x" * 5000)
    with pytest.raises(LedgerError, match="holds no local chain"):
        Ledger(tmp_path / "text").head()


def test_time_must_go_on(tmp_path):
    """Advancing by nothing is a mistake of the caller."""
    make_chain(tmp_path / "chain")
    ledger = Ledger(tmp_path / "chain", ManualClock().now)
    with pytest.raises(ValueError, match="at least 1"):
        ledger.advance(0)
    ledger.close()


# --- processes

WORKER = """
import json, sys
from pathlib import Path
import bittensor as bt
from deployments.localnet.chain.actors import dev_wallet, ensure_registered
from deployments.localnet.chain.substrate import LocalSubstrate

path, number, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
wallet = dev_wallet(f"p{number}")
sub = bt.Subtensor("local", substrate=LocalSubstrate(path))
uid = ensure_registered(sub, wallet, 51)
print("registered", flush=True)
torn = 0
for round_ in range(rounds):
    data = f"{number}-{round_}".encode()
    info = {"fields": [{f"Raw{len(data)}": "0x" + data.hex()}]}
    result = sub.submit_call(bt.calls.Commitments.set_commitment(netuid=51, info=info), wallet, signer="hotkey")
    assert result.success, result.message
    pinned = sub.at()
    seen = [{c.hotkey: c.data for c in pinned.subnets.commitments(51).values()} for _ in range(3)]
    assert seen[0][wallet.hotkey.ss58_address] == data.decode(), "its own write is read back"
    torn += any(s != seen[0] for s in seen)
print(json.dumps({"uid": uid, "torn": torn}))
sub.close()
"""


def worker(path, number, rounds, cache):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "BTCLI_TOKEN_SYMBOLS_CACHE": str(cache / f"{number}.json"),
        "BITTENSOR_RUNTIME_CACHE_DIR": str(cache),
    }
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), str(number), str(rounds)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_many_processes_write_and_read_at_once(tmp_path):
    """Two processes register and commit at the same time: every write lands, no pinned view is torn."""
    path = tmp_path / "chain.db"
    make_chain(path, block_time_s=0.03)
    workers = [worker(path, n, 8, tmp_path) for n in range(2)]
    reports = [w.communicate(timeout=60)[0].splitlines()[-1] for w in workers]

    assert [w.returncode for w in workers] == [0] * 2
    results = [json.loads(r) for r in reports]
    assert sorted(r["uid"] for r in results) == [1, 2]
    assert sum(r["torn"] for r in results) == 0
    ledger = Ledger(path)
    state = ledger.pending()
    ledger.close()
    fields = sorted(bytes.fromhex(c.fields[0][1][2:]).decode() for c in state.commitments.values())
    assert fields == ["0-7", "1-7"]


def test_a_killed_process_leaves_a_whole_chain(tmp_path):
    """Kill -9 in the middle of writing: the next one goes on where the last whole extrinsic ended."""
    path = tmp_path / "chain.db"
    make_chain(path, block_time_s=0.01)
    victim = worker(path, 0, 100_000, tmp_path)
    assert victim.stdout.readline() == "registered\n"
    time.sleep(0.2)  # somewhere in its hundreds of writes
    victim.send_signal(signal.SIGKILL)
    victim.communicate()

    survivor = worker(path, 1, 3, tmp_path)
    report = survivor.communicate(timeout=60)[0].splitlines()[-1]
    assert json.loads(report) == {"uid": 2, "torn": 0}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


GENESIS = """
import sys
from pathlib import Path
from deployments.localnet.chain.genesis import genesis
from deployments.localnet.chain.actors import dev_wallet
w = dev_wallet("owner")
print(genesis(Path(sys.argv[1]), owner_coldkey=w.coldkey.ss58_address, owner_hotkey=w.hotkey.ss58_address, accounts={}))
"""


def test_genesis_from_many_processes_makes_one_chain(tmp_path):
    """Two at once: one makes it, the other finds it."""
    command = [sys.executable, "-c", GENESIS, str(tmp_path / "chain.db")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    makers = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = sorted(m.communicate(timeout=60)[0].strip() for m in makers)

    assert answers == ["False", "True"]


FORK = """
import os, sys
from pathlib import Path
from deployments.localnet.chain.ledger import Ledger, LedgerError
ledger = Ledger(Path(sys.argv[1]))
ledger.head()
pid = os.fork()
if pid == 0:
    try:
        ledger.head()
    except LedgerError as error:
        os._exit(7 if "after a fork" in str(error) else 8)
    os._exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
ledger.close()
"""


def test_a_forked_child_is_told_to_open_its_own(tmp_path):
    """SQLite connections don't survive a fork, so the child gets a sentence instead of a corrupt file."""
    make_chain(tmp_path / "chain.db")
    ran = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path / "chain.db")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert ran.stdout.strip() == "7"
