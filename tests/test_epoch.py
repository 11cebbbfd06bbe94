"""The main job, end to end, as users type it: a local subnet of its own, and epochs on it."""

import signal

import pytest

from storage.history import read_epoch
from storage.records import EpochState
from tasks.proof.verdict import verify_transcript
from tasks.replaying import replay_epoch
from tasks.scoring.replay import Standing
from tests.whole import DEADLINE_S, phase_is_at_work, processes_of, started, until

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.xdist_group("epoch")]


def test_the_honest_are_proved_and_the_liars_caught(first_epoch):
    """Six machines are proved; each of the six that lie or fail is caught with its own code and gets nothing."""

    verdicts = {e["executor"]: e["verdict"] for e in first_epoch["executors"]}
    paid = {e["executor"] for e in first_epoch["executors"] if e["score"] > 0}

    assert verdicts == {
        "aurora-1": "PROVED",
        "aurora-2": "PROVED",
        "basalt-1": "PROVED",
        "basalt-2": "PROVED",
        "basalt-3": "WALK_STATE_WRONG",
        "basalt-4": "TILE_ENTRY_WRONG",
        "cinder-1": "PROVED",
        "cinder-2": "HOST_KEY_MISMATCH",
        "cinder-3": "HOST_TIMEOUT",
        "dune-1": "PROVED",
        "dune-2": "UUID_DUPLICATE",
        "dune-3": "CARD_MEMORY_SHORT",
    }
    assert paid == {name for name, verdict in verdicts.items() if verdict == "PROVED"}


def test_the_weights_are_on_the_chain(first_epoch):
    """The vector is confirmed, sums to one, and the owner's uid has the policy's burn share."""

    landed = {int(uid): weight for uid, weight in first_epoch["weights"]["landed"].items()}

    assert first_epoch["weights"]["status"] == "confirmed"
    assert sum(landed.values()) == pytest.approx(1.0)
    assert landed[0] == pytest.approx(0.2, abs=1e-4)
    assert first_epoch["incidents"] == []


def test_the_archive_has_everything(first_epoch, whole_folder):
    """The Parquet files alone give the epoch back, and every transcript in them can be checked again."""

    outcome = read_epoch(whole_folder / ".local" / "history", first_epoch["epoch"])

    assert outcome.state is EpochState.FINISHED
    assert len(outcome.executors) == len(outcome.reports) == len(outcome.scores) == 12
    proved = [v for v in outcome.verdicts if v.proved]
    assert len(proved) == 6
    for verdict in proved:
        assert verify_transcript(verdict.transcript).proved


def test_the_archive_alone_gives_the_same_scores_and_weights(first_epoch, whole_folder):
    """Replayed from the Parquet files, bit for bit."""

    replayed = replay_epoch(whole_folder / ".local" / "history", first_epoch["epoch"])

    assert (replayed.standing, replayed.differences) == (Standing.IDENTICAL, ())
    assert (replayed.scores, replayed.targets) == (12, len(first_epoch["weights"]["landed"]))


def test_nothing_is_left_outside_the_folder(first_epoch, whole_folder):
    """An epoch leaves no process, and no file in the home whole_folder."""

    assert first_epoch["epoch"] > 0
    assert until(lambda: not processes_of(whole_folder), 10.0), processes_of(whole_folder)
    assert list((whole_folder / "home").iterdir()) == []


def test_ctrl_c_leaves_nothing_running(first_epoch, whole_folder):
    """Ctrl-C in the middle of an epoch ends every process within seconds, with exit code 130."""

    process = started(whole_folder)
    assert until(
        lambda: phase_is_at_work(whole_folder, "inspection") or process.poll() is not None, DEADLINE_S
    )

    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=30)

    assert process.returncode == 130, log
    assert until(lambda: not processes_of(whole_folder), 10.0), processes_of(whole_folder)
