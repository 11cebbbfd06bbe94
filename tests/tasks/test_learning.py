"""What the archive teaches: real Parquet, counted once, read once, lost never."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from storage.history import write_epoch
from storage.records import Reason, Severity
from storage.state import State
from tasks import learning
from tasks.learning import learn
from tasks.policy import DEFAULT
from tasks.proof.population import Population, SkuKey
from tests.databases import fresh
from tests.storage.outcomes import NOON, executor, small_outcome
from tests.tasks.scoring.worlds import report, verdict

H200 = SkuKey("H200", 143_771)
L4 = SkuKey("L4", 24_570)
MALFORMED = Reason("PROOF_MALFORMED", Severity.FAIL, "", "", "")


@pytest.fixture
def state(tmp_path):
    """The state that learns from `tmp_path / "history"`."""
    engine = fresh(tmp_path, "state.db")
    yield State(engine)
    engine.dispose()


def whole(proof):
    """The same verdict, of cards whose whole memory was proved."""
    return replace(proof, cards=tuple(replace(card, memory_bytes=300 << 30) for card in proof.cards))


def archive(folder, epoch, machines, *, day=NOON, failed=()):
    """An archived epoch of machines as {(miner, number): (model, GB/s of each card)}; those named in `failed` failed."""
    listed = {key: executor(key[1], miner=key[0]) for key in machines}
    reports = [report(listed[key], model=model, cards=len(gb_s)) for key, (model, *gb_s) in machines.items()]
    verdicts = [
        verdict(listed[key], *gb_s, severity=Severity.FAIL, reasons=(MALFORMED,))
        if key in failed
        else verdict(listed[key], *gb_s)
        for key, (_, *gb_s) in machines.items()
    ]
    outcome = replace(
        small_outcome(epoch, day=day, machines=0),
        executors=tuple(listed.values()),
        reports=tuple(reports),
        verdicts=tuple(map(whole, verdicts)),
    )
    return write_epoch(folder / "history", outcome)


def learned(folder, state, now=NOON, policy=DEFAULT):
    """What the archive in the folder tells; nothing of it is damaged."""
    found = learn(folder / "history", state, policy, now)
    assert found.trouble is None
    return dict(found.populations)


def test_the_archive_tells_what_machines_measure(tmp_path, state):
    """Two epochs of three miners: a machine counts with its slowest card, a miner with one vote, models by themselves."""
    machines = {
        ("5A", 0): ("NVIDIA H200", 4_400.0, 4_300.0),
        ("5A", 1): ("NVIDIA H200", 4_100.0),
        ("5B", 0): ("NVIDIA H200", 4_000.0),
        ("5C", 0): ("NVIDIA L4", 270.0),
    }
    archive(tmp_path, 7, machines)
    archive(tmp_path, 8, machines)

    assert learned(tmp_path, state) == {
        H200: Population(median_gb_s=4_100.0, proofs=6, machines=3, miners=2),
        L4: Population(median_gb_s=270.0, proofs=2, machines=1, miners=1),
    }


def test_a_failed_proof_teaches_nothing(tmp_path, state):
    """A machine whose proof failed does not count, though it has figures, and a machine without a verdict neither."""
    machines = {("5A", n): ("NVIDIA H200", 4_000.0 + n) for n in range(3)}
    archive(tmp_path, 7, machines, failed={("5A", 0), ("5A", 1)})

    assert learned(tmp_path, state) == {H200: Population(4_002.0, proofs=1, machines=1, miners=1)}


def test_only_the_last_thirty_days_count(tmp_path, state):
    """Proofs older than thirty days are not counted, and those that were leave the state as they age."""
    archive(tmp_path, 7, {("5A", 0): ("NVIDIA H200", 3_000.0)}, day=NOON - timedelta(days=31))
    archive(tmp_path, 8, {("5B", 0): ("NVIDIA H200", 4_000.0)}, day=NOON - timedelta(days=30))
    archive(tmp_path, 9, {("5C", 0): ("NVIDIA H200", 4_400.0)}, day=NOON)

    now = learned(tmp_path, state)
    later = learned(tmp_path, state, NOON + timedelta(days=1))

    assert now == {H200: Population(4_200.0, proofs=2, machines=2, miners=2)}
    assert later == {H200: Population(4_400.0, proofs=1, machines=1, miners=1)}
    assert (state.proved_epochs(), len(state.load_proved_days("0000-00-00"))) == (frozenset({9}), 1)


def test_no_history_is_no_trouble(tmp_path, state):
    """A validator's first epoch knows nothing, and says nothing of it."""
    assert learned(tmp_path, state) == {}


def test_learning_again_changes_nothing(tmp_path, state):
    """An epoch is counted once, however often it is looked at or archived again."""
    archive(tmp_path, 7, {("5A", 0): ("NVIDIA H200", 4_000.0)})
    first = learned(tmp_path, state)

    archive(tmp_path, 7, {("5A", 0): ("NVIDIA H200", 4_000.0)})

    assert learned(tmp_path, state) == first
    assert first[H200].proofs == 1


def test_a_state_that_forgot_learns_the_same_again(tmp_path, state, monkeypatch):
    """The days hold nothing that the history does not: dropped, they come back to the last bit, a few epochs at a time."""
    rng = random.Random(0)
    for epoch in range(20):
        machines = {(f"5{n % 3}", n): ("NVIDIA H200", rng.uniform(3_000, 4_800)) for n in range(5)}
        archive(tmp_path, epoch, machines, day=NOON - timedelta(hours=20 - epoch))
        learned(tmp_path, state)
    known, days = learned(tmp_path, state), sorted(map(repr, state.load_proved_days("0000-00-00")))

    state.forget_proofs("9999-12-31")
    monkeypatch.setattr(learning, "MAX_COUNTED_AT_ONCE", 8)
    proofs = [learned(tmp_path, state)[H200].proofs for _ in range(3)]

    assert proofs == [40, 80, 100]
    assert learned(tmp_path, state) == known
    assert sorted(map(repr, state.load_proved_days("0000-00-00"))) == days


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and no more"])
@pytest.mark.parametrize("table", ["verdicts", "proofs", "reports"])
def test_a_damaged_epoch_costs_itself(tmp_path, state, table, content):
    """A file that is gone or broken is told; the other epochs count, and the mended one as soon as it is mended."""
    archive(tmp_path, 6, {("5A", 0): ("NVIDIA H200", 4_000.0)})
    paths = archive(tmp_path, 7, {("5A", 0): ("NVIDIA H200", 4_000.0)})
    (path,) = [p for p in paths if p.parts[-3] == table]
    content_before = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)

    found = learn(tmp_path / "history", state, DEFAULT, NOON)
    path.write_bytes(content_before)

    assert "epoch-7.parquet" in str(found.trouble)
    assert found.populations[H200].proofs == 1
    assert learned(tmp_path, state)[H200].proofs == 2


COUNT_FOR_EVER = """
import sys
from datetime import datetime
from pathlib import Path
from storage.database import open_database
from storage.state import State
from tasks.learning import learn
from tasks.policy import DEFAULT

folder, now = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
state = State(open_database(f"sqlite:///{folder}/state.db"))
print("ready", flush=True)
learn(folder / "history", state, DEFAULT, now)
"""


def test_a_validator_killed_while_counting_counts_every_epoch_once(tmp_path, state):
    """Killed with SIGKILL anywhere in the middle, again and again: in the end every proof is there, none twice."""
    machines = {("5A", n): ("NVIDIA H200", 4_000.0) for n in range(20)}
    for epoch in range(30):
        archive(tmp_path, epoch, machines)

    counted = []
    for delay_s in (0.0, 0.03, 0.06):
        program = [sys.executable, "-c", COUNT_FOR_EVER, str(tmp_path), NOON.isoformat()]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(delay_s)
            os.kill(process.pid, signal.SIGKILL)
        proofs = sum(day.proofs for day in state.load_proved_days("0000-00-00"))
        assert proofs == 20 * len(state.proved_epochs())
        counted.append(proofs)

    assert counted == sorted(counted)
    assert learned(tmp_path, state)[H200] == Population(4_000.0, proofs=30 * 20, machines=20, miners=1)
