"""The state: who holds an epoch, what is saved of it, and what comes back after a crash."""

import subprocess
import sys
import threading
import time
from dataclasses import fields, replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings

from storage import tables
from storage.database import writing
from storage.errors import EpochLost, StorageError
from storage.records import (
    Ban,
    BanKind,
    EpochHeader,
    EpochOutcome,
    EpochState,
    EpochSummary,
    Event,
    ExecutorRecord,
    HostFacts,
    HostReport,
    Phase,
    ProvedDay,
    ProvedEpoch,
    Reason,
    Severity,
)
from storage.runs import SILENCE, this_run
from storage.state import State
from tests.databases import fresh
from tests.storage.outcomes import NOON, executor, header, outcomes, small_outcome, verdict

ELSEWHERE = replace(this_run(), host="another-machine")
DEAD = replace(this_run(), started_ticks=1, token="dead")
"""A process that has our number, but began in another moment: ours has taken its place."""


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def state_at(engine, moment=NOON, run=None):
    """The state as a run sees it whose clock stands still."""
    return State(engine, run=run, clock=lambda: moment)


def save(state, outcome):
    """Save all parts of an outcome, in the order of an epoch."""
    state.save_discovery(outcome.epoch, outcome.replies, outcome.executors)
    state.save_reports(outcome.epoch, outcome.reports)
    state.save_verdicts(outcome.epoch, outcome.verdicts)
    if outcome.grounds:
        state.save_grounds(outcome.epoch, outcome.grounds)
    state.save_scores(outcome.epoch, outcome.scores)
    if outcome.weights:
        state.save_weights(outcome.weights)
        state.save_weights(outcome.weights, outcome.weight_outcome)
    state.save_incidents(outcome.epoch, outcome.incidents)
    for phase in outcome.phases:
        state.set_phase(phase)
    for event in outcome.events:
        state.note_event(event)


# --- who holds an epoch ----------------------------------------------------------------------------


def test_a_free_epoch_is_taken(engine):
    """The first to ask for an epoch gets it, with nothing to resume or archive."""
    opening = state_at(engine).open_epoch(header(7))

    assert (opening.is_ours, opening.is_resumed, opening.refusal, opening.unarchived) == (True, False, "", ())


@pytest.mark.parametrize("number", [7, 8])
def test_a_live_run_keeps_everybody_out(engine, number):
    """While a live run holds an open epoch, neither that epoch nor another is given to a second run."""
    state_at(engine).open_epoch(header(7))

    opening = state_at(engine).open_epoch(header(number))

    assert not opening.is_ours
    assert opening.refusal.startswith("epoch 7 is still at work in process ")


def test_a_finished_epoch_is_not_opened_again(engine):
    """An epoch is done once."""
    state = state_at(engine)
    state.open_epoch(header(7))
    state.finish_epoch(7)

    opening = state_at(engine).open_epoch(header(7))

    assert (opening.is_ours, opening.refusal) == (False, "epoch 7 is closed already")
    assert opening.unarchived == (7,)


def test_the_epoch_of_a_dead_run_is_resumed_with_what_it_knew(engine):
    """The same number again after a crash: ours now, its start and its findings kept, its phases begun anew."""
    dead = state_at(engine, run=DEAD)
    dead.open_epoch(header(7))
    save(dead, small_outcome(7))
    dead.set_phase(Phase(7, "proof", 1, 2, "", NOON, None))
    later = NOON + timedelta(seconds=30)

    alive = state_at(engine, later)
    opening = alive.open_epoch(header(7, block=359, started_at=later))

    assert (opening.is_ours, opening.is_resumed) == (True, True)
    assert alive.read_phases(7) == ()
    known = alive.load_outcome(7)
    assert (known.block, known.started_at, known.verdicts) == (359, NOON, small_outcome(7).verdicts)


def test_older_epochs_of_dead_runs_are_abandoned_and_named(engine):
    """Opening an epoch gives up what dead runs left open, and says what the history still lacks."""
    dead = state_at(engine, run=DEAD)
    dead.open_epoch(header(7))
    save(dead, small_outcome(7))

    opening = state_at(engine, NOON + timedelta(seconds=99)).open_epoch(header(8))

    assert (opening.is_ours, opening.unarchived) == (True, (7,))
    abandoned = State(engine).load_outcome(7)
    assert (abandoned.state, abandoned.finished_at) == (EpochState.ABANDONED, NOON)
    assert abandoned.scores == small_outcome(7).scores


def test_a_run_that_was_replaced_can_write_no_more(engine):
    """The fence: after a take-over every write of the old run fails, and changes nothing."""
    old = state_at(engine, run=DEAD)
    old.open_epoch(header(7))
    state_at(engine).open_epoch(header(7))
    outcome = small_outcome(7)
    writes = [
        lambda: old.set_phase(Phase(7, "proof", 1, 2, "", NOON, None)),
        lambda: old.save_discovery(7, outcome.replies, outcome.executors),
        lambda: old.save_reports(7, ()),
        lambda: old.save_verdicts(7, outcome.verdicts),
        lambda: old.save_scores(7, outcome.scores),
        lambda: old.save_weights(outcome.weights),
        lambda: old.save_incidents(7, ()),
        lambda: old.update_records(7, [ExecutorRecord("5Alice/m-0")]),
    ]

    for write in writes:
        with pytest.raises(EpochLost):
            write()
    assert not old.finish_epoch(7)
    assert state_at(engine).load_outcome(7).executors == ()
    assert state_at(engine).load_records() == {}


def test_closing_is_compare_and_set(engine):
    """Of finishing and abandoning, the first wins, and the second changes nothing."""
    state = state_at(engine)
    state.open_epoch(header(7))

    assert [state.abandon_epoch(7), state.finish_epoch(7), state.abandon_epoch(7)] == [True, False, False]
    assert state.load_outcome(7).state is EpochState.ABANDONED


def test_a_silent_run_elsewhere_is_dead_after_a_while(engine):
    """A run on another machine cannot be looked at: it is believed until it has been silent for too long."""
    state_at(engine, run=ELSEWHERE).open_epoch(header(7))

    assert not state_at(engine, NOON + SILENCE).open_epoch(header(8)).is_ours
    assert state_at(engine, NOON + SILENCE + timedelta(seconds=1)).open_epoch(header(8)).is_ours


def test_of_many_that_ask_at_once_one_gets_the_epoch(engine):
    """Eight threads, each its own run, ask for the same epoch: one opens it."""
    openings = []
    barrier = threading.Barrier(8)

    def ask():
        barrier.wait()
        openings.append(state_at(engine).open_epoch(header(7)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(opening.is_ours for opening in openings) == [False] * 7 + [True]


def test_the_database_itself_allows_one_open_epoch(engine):
    """Whatever the code does, a second open epoch breaks a constraint."""
    state_at(engine).open_epoch(header(7))
    copy = sa.select(*[c for c in tables.epochs.c if c.name != "epoch"])

    def open_a_copy():
        with writing(engine) as connection:
            row = connection.execute(copy).mappings().one()
            connection.execute(sa.insert(tables.epochs).values(epoch=8, **row))

    with pytest.raises(StorageError, match=r"(?i)unique"):
        open_a_copy()


def test_kill_9_in_the_middle_leaves_an_epoch_that_can_be_resumed(engine):
    """A process that is killed between two steps has saved the first, and the next run takes the epoch over."""
    program = (
        "import sys, os, signal\n"
        "from storage.database import open_database\n"
        "from storage.state import State\n"
        "from tests.storage.outcomes import header, small_outcome\n"
        "state = State(open_database(sys.argv[1]))\n"
        "assert state.open_epoch(header(7)).is_ours\n"
        "outcome = small_outcome(7)\n"
        "state.save_discovery(7, outcome.replies, outcome.executors)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(engine.url)], check=False)

    opening = State(engine).open_epoch(header(7))

    assert killed.returncode == -9
    assert (opening.is_ours, opening.is_resumed) == (True, True)
    assert State(engine).load_outcome(7).executors == small_outcome(7).executors


# --- what is saved ---------------------------------------------------------------------------------


@given(outcomes())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_outcome_survives_the_state(engine, outcome):
    """What was saved of an epoch comes back as it was, machines in the order of their keys."""
    with writing(engine) as connection:
        connection.execute(sa.delete(tables.epochs))
        connection.execute(sa.delete(tables.events))
    state = state_at(engine, outcome.finished_at)
    state.open_epoch(EpochHeader(**{f.name: getattr(outcome, f.name) for f in fields(EpochHeader)}))

    save(state, outcome)
    state.finish_epoch(outcome.epoch)

    by_key = {
        name: tuple(sorted(getattr(outcome, name), key=_key))
        for name in ("executors", "reports", "verdicts", "scores")
    }
    if outcome.grounds is not None:
        standings = tuple(sorted(outcome.grounds.standings, key=_key))
        by_key["grounds"] = replace(outcome.grounds, standings=standings)
    assert state.load_outcome(outcome.epoch) == replace(outcome, state=EpochState.FINISHED, **by_key)


def _key(record):
    return record.key if hasattr(record, "key") else record.executor_key


def test_saving_again_replaces(engine):
    """A step that is repeated leaves what its last repetition found."""
    state = state_at(engine)
    state.open_epoch(header(7))
    outcome = small_outcome(7)
    save(state, outcome)

    better = tuple(replace(score, score=9.0) for score in outcome.scores)
    state.save_scores(7, better)
    save(state, outcome)
    state.save_scores(7, better[:1])

    assert [score.score for score in state.load_outcome(7).scores] == [9.0, 0.3]


def test_machines_that_discovery_lists_no_more_are_dropped(engine):
    """A resumed epoch that finds fewer machines keeps nothing of the others, so its outcome is of one discovery."""
    state = state_at(engine)
    state.open_epoch(header(7))
    save(state, small_outcome(7, machines=2))
    fewer = small_outcome(7, machines=1)

    state.save_discovery(7, fewer.replies, fewer.executors)

    known = state.load_outcome(7)
    assert (known.executors, known.verdicts, known.scores) == (fewer.executors, fewer.verdicts, fewer.scores)


def test_a_report_of_a_machine_that_was_not_discovered_is_refused(engine):
    """State belongs together: there is no report without its executor, and a refused batch leaves nothing."""
    state = state_at(engine)
    state.open_epoch(header(7))

    with pytest.raises(StorageError, match=r"(?i)foreign key"):
        state.save_verdicts(7, [verdict("5Mallory/m-0")])


@pytest.mark.parametrize("change", [{"validator_hotkey": "5Other"}, {"netuid": 4}])
def test_a_state_belongs_to_one_validator(engine, change):
    """Another hotkey, or another subnet, would pay what is not its own: it is told whose the state is."""
    state = state_at(engine)
    state.open_epoch(header(7))
    state.finish_epoch(7)

    told = state.open_epoch(header(8, **change))

    assert not told.is_ours
    assert told.refusal.startswith("this state belongs to validator 5Validator on subnet 3")
    assert state.open_epoch(header(8)).is_ours


def test_an_event_goes_into_the_epoch_that_is_closed_next(engine):
    """What happens between epochs is archived once: by the first epoch that is closed after it."""
    state = state_at(engine)
    swap, ban = (Event(NOON, kind, "5Alice/m-0", "in words") for kind in ("CARDS_SWAPPED", "MINER_BANNED"))
    state.note_event(swap)
    for epoch, later in ((7, ban), (8, None)):
        state.open_epoch(header(epoch))
        if later:
            state.finish_epoch(epoch)
            state.note_event(later)
    state.finish_epoch(8)
    state.open_epoch(header(9))
    state.finish_epoch(9)

    assert [state.load_outcome(epoch).events for epoch in (7, 8, 9)] == [(swap,), (ban,), ()]


def test_weights_are_known_before_they_are_tried(engine):
    """A vector that was meant but not set has no outcome, and a new attempt forgets that of the old one."""
    state = state_at(engine)
    state.open_epoch(header(7))
    outcome = small_outcome(7)

    state.save_weights(outcome.weights)
    meant = state.load_outcome(7)
    state.save_weights(outcome.weights, outcome.weight_outcome)
    tried = state.load_outcome(7)
    state.save_weights(outcome.weights)

    assert (meant.weights, meant.weight_outcome) == (outcome.weights, None)
    assert tried.weight_outcome == outcome.weight_outcome
    assert state.load_outcome(7).weight_outcome is None


def test_phases_come_back_in_the_order_of_their_begin(engine):
    """A phase is replaced by its newest word, and phases are listed as they began."""
    state = state_at(engine)
    state.open_epoch(header(7))
    discovery = Phase(7, "discovery", 4, 4, "4 miners", NOON, NOON)
    proof = Phase(7, "proof", 0, 10, "", NOON + timedelta(seconds=2), None)

    for phase in (proof, replace(discovery, done=0), discovery):
        state.set_phase(phase)

    assert state.read_phases(7) == (discovery, proof)


def test_five_hundred_reports_are_saved_in_one_go(engine):
    """A batch of 500 machines costs well under a tenth of a second of CPU (a few ms of it are SQLite's)."""
    state = state_at(engine)
    state.open_epoch(header(7))
    machines = [executor(n) for n in range(500)]
    state.save_discovery(7, (), machines)
    reason = Reason("HOST_RAM", Severity.WARN, "1", "2", "Add memory.")
    reports = [
        HostReport(e.key, HostFacts(cpu_model="Xeon"), (), None, (reason,), 0.1, 0.2) for e in machines
    ]

    start = time.process_time()
    state.save_reports(7, reports)

    assert time.process_time() - start < 0.25
    assert len(state.load_outcome(7).reports) == 500


# --- records of machines ---------------------------------------------------------------------------


def test_an_epoch_is_counted_exactly_once(engine):
    """The second count of an epoch, by the same run or the one that resumes it, changes nothing."""
    dead = state_at(engine, run=DEAD)
    dead.open_epoch(header(7))
    first = ExecutorRecord("5Alice/m-0", NOON, 1, 1, 1, NOON, "RTX 4090", 1, ("GPU-1",), 100.0, 200.0)

    counts = [dead.update_records(7, [first]), dead.update_records(7, [replace(first, epochs_seen=2)])]
    resumed = state_at(engine)
    resumed.open_epoch(header(7))
    counts.append(resumed.update_records(7, [replace(first, epochs_seen=3)]))

    assert counts == [True, False, False]
    assert resumed.load_records() == {"5Alice/m-0": first}


def test_what_counting_led_to_is_noted_exactly_once(engine):
    """The events of a count are in the epoch that counted, once, however often a run that died in between is resumed."""
    reset = Event(NOON, "RECORD_RESET", "5Alice/m-0", "GPU_UUID_CHANGED: 1 of 9 verdicts failed")
    dead = state_at(engine, run=DEAD)
    dead.open_epoch(header(7))
    dead.update_records(7, [ExecutorRecord("5Alice/m-0")], [reset])

    resumed = state_at(engine)
    resumed.open_epoch(header(7))
    resumed.update_records(7, [ExecutorRecord("5Alice/m-0")], [reset])
    resumed.finish_epoch(7)

    assert resumed.load_outcome(7).events == (reset,)


def test_counting_and_closing_are_one_piece(engine):
    """Records, events and the closed epoch are there together; a late second try changes nothing."""
    state, reset = state_at(engine), Event(NOON, "RECORD_RESET", "5Alice/m-0", "FAILURE_BUDGET")
    state.open_epoch(header(7))
    record = ExecutorRecord("5Alice/m-0", epochs_seen=1)

    state.finish_counted(7, [record], [reset])
    with pytest.raises(EpochLost):
        state.finish_counted(7, [replace(record, epochs_seen=2)], [reset])

    assert state.load_outcome(7).state is EpochState.FINISHED
    assert state.load_outcome(7).events == (reset,)
    assert state.load_records() == {"5Alice/m-0": record}


def test_what_was_read_before_the_close_is_the_closed_epoch_once_its_end_is_read(engine):
    """Archiving reads the epoch once and then only what closing it has added: what it led to, when, and that it is closed."""
    later, reset = NOON + timedelta(minutes=5), Event(NOON, "RECORD_RESET", "5Alice/m-0", "FAILURE_BUDGET")
    run = this_run()
    state, closing = state_at(engine, run=run), state_at(engine, later, run)
    state.open_epoch(header(7))
    save(state, small_outcome(7))
    known = state.load_outcome(7)
    closing.finish_counted(7, [ExecutorRecord("5Alice/m-0")], [reset])

    finished = closing.load_end(known)

    assert finished == closing.load_outcome(7)
    assert (finished.state, finished.finished_at, finished.events) == (EpochState.FINISHED, later, (reset,))


def test_an_archived_epochs_proofs_are_added_exactly_once(engine):
    """The proofs of two epochs of a day are added up; the second count of an epoch, by whomever, changes nothing."""
    day = ProvedDay("2026-08-01", "5Alice/m-0", "L4", 24_570, 1, 270_000_000)
    other = replace(day, nominal_mib=49_140)

    counts = [
        state_at(engine).count_proofs(ProvedEpoch(7, day.day), [day]),
        state_at(engine, run=DEAD).count_proofs(ProvedEpoch(7, day.day), [day]),
        state_at(engine).count_proofs(ProvedEpoch(8, day.day), [day, other]),
        state_at(engine).count_proofs(ProvedEpoch(9, day.day), []),
    ]

    assert counts == [True, False, True, True]
    assert state_at(engine).proved_epochs() == {7, 8, 9}
    assert set(state_at(engine).load_proved_days("2026-08-01")) == {
        replace(day, proofs=2, sum_kb_s=540_000_000),
        other,
    }
    assert state_at(engine).load_proved_days("2026-08-02") == ()


def test_days_before_the_window_are_forgotten(engine):
    """What is too old leaves, its epochs too; the day itself stays."""
    state = state_at(engine)
    for epoch, name in ((7, "2026-07-31"), (8, "2026-08-01")):
        state.count_proofs(ProvedEpoch(epoch, name), [ProvedDay(name, "5Alice/m-0", "L4", 24_570, 1, 1)])

    assert state.forget_proofs("2026-08-01") == 1
    assert state.proved_epochs() == {8}
    assert [day.day for day in state.load_proved_days("0000-00-00")] == ["2026-08-01"]


def test_records_of_machines_long_gone_are_forgotten(engine):
    """A machine that no recent epoch has counted leaves no record, so invented names do not pile up for ever."""
    for epoch, name in ((7, "old"), (8, "new")):
        state = state_at(engine)
        state.open_epoch(header(epoch))
        state.update_records(epoch, [ExecutorRecord(name)])
        state.finish_epoch(epoch)

    assert state.forget_records(before_epoch=8) == 1
    assert list(state.load_records()) == ["new"]


# --- listing and pruning ---------------------------------------------------------------------------


def test_the_newest_epochs_are_listed_first(engine):
    """A line per epoch: its header, where it stands, its machines and how many of them are paid."""
    for epoch in (7, 8, 9):
        state = state_at(engine)
        state.open_epoch(header(epoch))
        save(state, small_outcome(epoch))
        state.finish_epoch(epoch)

    assert state.latest_epochs(2) == (
        EpochSummary(header(9), EpochState.FINISHED, NOON, 2, 2),
        EpochSummary(header(8), EpochState.FINISHED, NOON, 2, 2),
    )


def test_an_archived_epoch_keeps_no_transcripts(engine):
    """Once the history has an epoch, its transcripts leave the state and the rest stays."""
    state = state_at(engine)
    state.open_epoch(header(7))
    save(state, small_outcome(7))
    state.mark_archived(7)
    state.finish_epoch(7)
    before = state_at(engine).open_epoch(header(8)).unarchived

    state.mark_archived(7)

    known: EpochOutcome = state.load_outcome(7)
    assert before == (7,)
    assert [v.transcript for v in known.verdicts] == [b"", b""]
    assert known.scores == small_outcome(7).scores


def test_pruning_keeps_the_newest_and_what_is_not_archived(engine):
    """Old epochs go with all that hangs on them, but never before the history has them."""
    for epoch in (5, 6, 7, 8):
        state = state_at(engine)
        state.open_epoch(header(epoch))
        save(state, small_outcome(epoch))
        state.finish_epoch(epoch)
        if epoch != 6:
            state.mark_archived(epoch)

    assert state.prune(keep=2) == 1
    assert [line.header.epoch for line in state.latest_epochs(9)] == [8, 7, 6]
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.scores)).scalar() == 6


def test_an_epoch_that_nobody_knows_is_none(engine):
    """Asking for what never was is an answer, not an error."""
    assert state_at(engine).load_outcome(404) is None
    assert state_at(engine).read_phases(404) == ()


# --- what a dead run knew ------------------------------------------------------------------------------


def test_a_new_report_outdates_the_dead_run_s_verdict(engine):
    """A machine that a resumed epoch inspects again has no verdict or score that rests on its older report."""
    dead = state_at(engine, run=DEAD)
    dead.open_epoch(header(7))
    old = small_outcome(7)
    save(dead, old)

    alive = state_at(engine)
    alive.open_epoch(header(7))
    alive.save_discovery(7, old.replies, old.executors)
    again = old.verdicts[0].executor_key
    alive.save_reports(7, [HostReport(again, HostFacts(), (), None, (), 0.0, 0.0)])

    known = alive.load_outcome(7)
    assert known.verdicts == tuple(v for v in old.verdicts if v.executor_key != again)
    assert known.scores == tuple(s for s in old.scores if s.executor_key != again)
    assert len(known.verdicts) == len(old.verdicts) - 1


def test_a_ban_is_added_and_lifted_once(engine):
    """The second of two same calls changes nothing; what happened is an event each, in the next epoch that is closed."""
    state = state_at(engine)
    ban = Ban(BanKind.MINER, "5Alice", "announces machines of others", NOON, None, "ops")

    added = [state.add_ban(ban), state.add_ban(replace(ban, reason="another"))]
    held = state.active_bans(NOON)
    lifted = [state.lift_ban(BanKind.MINER, "5Alice", "ops"), state.lift_ban(BanKind.MINER, "5Alice", "ops")]

    assert (added, held, lifted) == ([True, False], (ban,), [True, False])
    state.open_epoch(header(7))
    state.finish_epoch(7)
    events = state.load_outcome(7).events
    assert [(e.kind, e.subject) for e in events] == [("BANNED", "5Alice"), ("BAN_LIFTED", "5Alice")]


def test_a_ban_runs_out(engine):
    """It holds until its hour, and the subject may be banned anew afterwards."""
    state = state_at(engine)
    ban = Ban(BanKind.CARD, "gpu-1", "its firmware lies", NOON, NOON + timedelta(days=1), "ops")
    state.add_ban(ban)

    assert state.active_bans(NOON + timedelta(hours=23)) == (ban,)
    assert state.active_bans(NOON + timedelta(days=1)) == ()
    assert not state.add_ban(replace(ban, since=NOON + timedelta(hours=1)))
    assert state.add_ban(replace(ban, since=NOON + timedelta(days=1), until=None))


def test_a_swap_counts_once_even_when_the_epoch_is_begun_again(engine):
    """The record moves from the cards that it was on, with one event; the second try, and one from elsewhere, do nothing."""
    before = ExecutorRecord("5Alice/m-0", NOON, 9, 9, 9, NOON, "L4", 1, ("GPU-1",), 100.0, 200.0)
    after = replace(before, card_uuids=(), model=None, passed_since=None, swapped_at=NOON)
    event = Event(NOON, "CARDS_SWAPPED", "5Alice/m-0", "gone GPU-1; came GPU-2", "signed")
    dead = state_at(engine, run=DEAD)
    dead.open_epoch(header(6))
    dead.update_records(6, [before])
    dead.finish_epoch(6)
    dead.open_epoch(header(7))

    moved = [dead.swap_cards(7, before, after, event)]
    resumed = state_at(engine)
    resumed.open_epoch(header(7))
    moved.append(resumed.swap_cards(7, before, after, event))
    moved.append(resumed.swap_cards(7, replace(before, executor_key="5Bob/m-0"), after, event))
    resumed.finish_epoch(7)

    assert moved == [True, False, False]
    assert resumed.load_records() == {"5Alice/m-0": after}
    assert resumed.load_outcome(7).events == (event,)
