"""Opening and closing an epoch beside the history: what cannot be archived now is archived later, whole."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.history import read_epoch
from storage.state import State
from tasks.crew.opening import begin_of, hands_for
from tasks.edges.wire import MAX_EXECUTORS
from tasks.opening import _open, archive_closed
from tasks.policy import DEFAULT, LOCALNET
from tasks.proof.population import Population, SkuKey
from tests.storage.outcomes import header, small_outcome
from tests.tasks.inspection.runs import edges_in, view_at
from tests.tasks.scoring.worlds import executor, report, verdict


def closed(edges, epoch: int) -> State:
    """An epoch with its transcripts, finished and not archived."""
    state, outcome = State(edges.engine), small_outcome(epoch)
    state.open_epoch(header(epoch))
    state.save_discovery(epoch, outcome.replies, outcome.executors)
    state.save_reports(epoch, outcome.reports)
    state.save_verdicts(epoch, outcome.verdicts)
    state.finish_epoch(epoch)
    return state


def test_archiving_twice_keeps_the_transcripts(tmp_path):
    """Two runs that archive one epoch one after the other leave it whole, though the state forgets after the first."""

    with edges_in(tmp_path) as edges:
        state = closed(edges, 7)
        archive_closed(edges, state, state.load_outcome(7))
        archive_closed(edges, state, state.load_outcome(7))

    archived = read_epoch(tmp_path / "history", 7)
    assert [v.transcript for v in archived.verdicts] == [v.transcript for v in small_outcome(7).verdicts]


def test_a_state_of_yesterday_takes_nothing_from_the_archive(tmp_path):
    """Put back from a copy that was made in the middle of an epoch: the archive has it whole, and keeps it."""

    with edges_in(tmp_path) as edges:
        state = closed(edges, 7)
        archive_closed(edges, state, state.load_outcome(7))
    (tmp_path / "copy").mkdir()
    with edges_in(tmp_path / "copy") as older:
        state = State(older.engine, clock=lambda: datetime.now(UTC) - timedelta(days=1))
        state.open_epoch(header(7))
        state.abandon_epoch(7)
        archive_closed(replace(older, history=tmp_path / "history"), state, state.load_outcome(7))

        assert state.is_archived(7)
    assert read_epoch(tmp_path / "history", 7).verdicts == small_outcome(7).verdicts


def test_an_epoch_opens_though_the_history_takes_nothing(tmp_path):
    """A history that can't be written keeps no epoch from being worked: it is told, and tried again by the next."""

    with edges_in(tmp_path) as edges:
        closed(edges, 7)
        (tmp_path / "history").write_text("a file where the folder should be")

        with _open(edges, header(8), LOCALNET, view_at(400)) as run:
            told = [reason.code for reason in run.incidents]
        run.state.finish_epoch(8)

        Path(tmp_path / "history").unlink()
        with _open(edges, header(9), LOCALNET, view_at(450)) as run:
            assert run.incidents == []

    assert told == ["STORAGE_ERROR"]
    assert read_epoch(tmp_path / "history", 7).verdicts == small_outcome(7).verdicts


def test_an_epoch_opens_with_what_the_archive_knows_of_each_model(tmp_path):
    """The populations are there before the first machine is asked, the epoch that a dead run left unarchived in them."""

    machine = executor()
    proof = verdict(machine, 270.0)
    proofs = (replace(proof, cards=(replace(proof.cards[0], memory_bytes=21 << 30),)),)
    with edges_in(tmp_path) as edges:
        state = State(edges.engine)
        state.open_epoch(header(7))
        state.save_discovery(7, small_outcome(7).replies, [machine])
        state.save_reports(7, [report(machine, model="NVIDIA L4")])
        state.save_verdicts(7, proofs)
        state.finish_epoch(7)

        with _open(edges, header(8), DEFAULT, view_at(400)) as run:
            known = dict(run.populations)
            told = run.incidents

    assert known == {SkuKey("L4", 24_570): Population(270.0, proofs=1, machines=1, miners=1)}
    assert told == []


def test_a_damaged_history_costs_an_incident(tmp_path):
    """A broken file in the archive is told, and the epoch opens with what the others say: here nothing, so vendors' floors."""

    with edges_in(tmp_path) as edges:
        state = closed(edges, 7)
        archive_closed(edges, state, state.load_outcome(7))
        (path,) = (tmp_path / "history" / "verdicts").rglob("*.parquet")
        path.write_bytes(b"PAR1")

        with _open(edges, header(8), DEFAULT, view_at(400)) as run:
            assert [reason.code for reason in run.incidents] == ["HISTORY_DAMAGED"]
            assert dict(run.populations) == {}


@pytest.mark.parametrize("hands", [1, 3])
def test_every_member_of_the_largest_wave_has_a_session(tmp_path, hands):
    """A miner's machines are never split over waves: all hands together have a session for each, however few were asked for."""

    with (
        edges_in(tmp_path, max_sessions=1) as edges,
        _open(replace(edges, most_hands=hands), header(7), LOCALNET, view_at(350)) as run,
    ):
        begin = begin_of(run)

    assert begin.most_sessions * hands >= MAX_EXECUTORS
    assert begin.shell.starts_per_s * hands == pytest.approx(edges.shell.settings.starts_per_s)
    assert 1 <= begin.most_probes * hands <= max(hands, LOCALNET.inspection.bandwidth_probes_at_once)


@pytest.mark.parametrize(
    ("machines", "most", "hands"), [(0, 8, 1), (1, 8, 1), (64, 8, 1), (65, 8, 2), (10_000, 8, 8)]
)
def test_a_hand_is_started_for_some_dozens_of_machines(machines, most, hands):
    """As many as the machines are worth, and never more than the settings say."""

    assert hands_for(machines, most) == hands
