"""Swaps that miners announce, over a real state: applied once, told when they do not count."""

from dataclasses import replace
from datetime import timedelta

from bittensor import sp_core

from storage.records import ExecutorRecord, HostFacts, HostReport, MinerReply
from tasks.edges.signing import sign_statement
from tasks.epoch import Kept
from tasks.seeking import apply_swaps
from tasks.swaps import Swap
from tests.storage.outcomes import small_outcome
from tests.tasks.inspection.runs import NOON, edges_in, run_over

MINER = sp_core.Keypair.create_from_uri("//Miner")
KEY = f"{MINER.ss58_address}/rack1-a"
KNOWN = ExecutorRecord(KEY, NOON, 9, 9, 9, NOON, "NVIDIA L4", 1, ("GPU-1",), verified_count=9)


def announced(*, gone="GPU-1", came="GPU-2"):
    """A miner's answer with one swap."""
    swap = Swap(MINER.ss58_address, "rack1-a", NOON - timedelta(hours=1), (gone,), (came,))
    return MinerReply(MINER.ss58_address, 4, (), (), b"signed", (sign_statement(MINER, swap.lines),))


def test_a_swap_is_applied_once(tmp_path):
    """The run goes on with the swapped record, and the state has it; who still knows the old record changes nothing."""
    with edges_in(tmp_path) as edges, run_over(edges, records={KEY: KNOWN}) as run:
        run.state.update_records(run.epoch, [KNOWN])
        (reply,) = apply_swaps(run, [announced()], NOON)
        first = run.record_of(KEY)
        run.records = {KEY: KNOWN}
        apply_swaps(run, [announced()], NOON + timedelta(minutes=1))
        run.state.finish_epoch(run.epoch)
        known, events = run.state.load_records(), run.state.load_outcome(run.epoch).events

    assert reply.reasons == ()
    assert (first.announced_uuids, first.passed_since) == (("GPU-2",), None)
    assert known == {KEY: first}
    assert [event.kind for event in events] == ["CARDS_SWAPPED"]


def test_a_swapped_machine_is_looked_at_again(tmp_path):
    """What a run that died has proved of it was of the cards that are gone: kept, it would hold the machine to those."""
    machine = replace(small_outcome(7).executors[0], miner_hotkey=MINER.ss58_address, executor_id="rack1-a")
    other = replace(machine, executor_id="rack1-b")
    reports = {e.key: HostReport(e.key, HostFacts(), (), None, (), 0.0, 0.0) for e in (machine, other)}
    with edges_in(tmp_path) as edges, run_over(edges, records={KEY: KNOWN}) as run:
        run.state.update_records(run.epoch, [KNOWN])
        run.kept = Kept({e.key: e for e in (machine, other)}, reports)
        apply_swaps(run, [announced()], NOON)

        assert run.kept.report_of(machine) is None
        assert run.kept.report_of(other) is not None


def test_a_swap_that_does_not_count_is_told(tmp_path):
    """The miner's reply gets the reason, the record stays."""
    with edges_in(tmp_path) as edges, run_over(edges, records={KEY: KNOWN}) as run:
        run.state.update_records(run.epoch, [KNOWN])
        (reply,) = apply_swaps(run, [announced(gone="GPU-9")], NOON)

        assert [reason.code for reason in reply.reasons] == ["SWAP_OTHER_CARDS"]
        assert run.state.load_records() == {KEY: KNOWN}


def test_bare_answers_pass_through(tmp_path):
    """An answer without swaps is what it was."""
    with edges_in(tmp_path) as edges, run_over(edges) as run:
        bare = replace(announced(), swaps=())

        assert apply_swaps(run, [bare], NOON) == (bare,)
