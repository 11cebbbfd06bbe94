"""Swaps that miners announce, over a real state: applied once, told when they do not count."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from bittensor import sp_core

from storage.records import ExecutorRecord, HostFacts, HostReport, MinerReply, Reason, Severity
from storage.state import State
from tasks.assigning import is_ours, permitted_stakes
from tasks.edges.signing import sign_statement
from tasks.epoch import EpochRun, Kept
from tasks.errors import ChainAway
from tasks.inspection.step import inspect
from tasks.policy import DEFAULT, LIUM_2025
from tasks.scoring.step import score
from tasks.seeking import apply_swaps, leave_to_others, with_unheard
from tasks.swaps import Swap
from tests.storage.outcomes import small_outcome
from tests.tasks.inspection.runs import HEADER, NOON, edges_in, list_in_state, run_over, view_at
from tests.tasks.scoring.worlds import view as subnet_of

MINER = sp_core.Keypair.create_from_uri("//Miner")
KEY = f"{MINER.ss58_address}/rack1-a"
RACK = replace(small_outcome(7).executors[0], miner_hotkey=MINER.ss58_address, executor_id="rack1-a")
AWAY = Reason("MINER_TIMEOUT", Severity.NO_VERDICT, "no whole answer", "an answer within 10 s", "Start it.")
FORGED = Reason("MINER_BAD_SIGNATURE", Severity.FAIL, "", "", "")
GRACED = ExecutorRecord(KEY, NOON, 30, 30, 30, NOON, last_score=0.4, last_score_epoch=7)
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
    machine = RACK
    other = replace(machine, executor_id="rack1-b")
    reports = {e.key: HostReport(e.key, HostFacts(), (), None, (), 0.0, 0.0) for e in (machine, other)}
    with edges_in(tmp_path) as edges, run_over(edges, records={KEY: KNOWN}) as run:
        run.state.update_records(run.epoch, [KNOWN])
        run.kept = Kept({e.key: e for e in (machine, other)}, reports)
        apply_swaps(run, [announced()], NOON)

        assert run.kept.report_of(machine) is None
        assert run.kept.report_of(other) is not None


def silent(*reasons):
    """A door that gave nothing, for these reasons."""
    return MinerReply(MINER.ss58_address, 4, (), reasons)


def known_run(folder, stack, *, record=GRACED, policy=DEFAULT):
    """Epoch 8 of a validator that has met the machine in epoch 7."""
    edges = stack.enter_context(edges_in(folder))
    with run_over(edges) as before:
        list_in_state(before, RACK)
        before.state.finish_epoch(7)
    header = replace(HEADER, epoch=8)
    state = State(edges.engine)
    state.open_epoch(header)
    run = EpochRun(
        edges,
        state=state,
        header=header,
        policy=policy,
        view=view_at(400),
        records={record.executor_key: record},
    )
    return stack.enter_context(run)


def test_machines_behind_a_silent_door_are_in_grace(tmp_path):
    """The door's silence is no failed verdict of its machines: they stand as last listed, unasked, and keep their score."""
    with ExitStack() as stack:
        run = known_run(tmp_path, stack)
        (reply,) = with_unheard(run, [silent(AWAY)])
        list_in_state(run, *reply.executors)
        (report,) = asyncio.run(inspect(run, reply.executors))
        scores = asyncio.run(score(run, reply.executors, [report], []))

    assert [e.key for e in reply.executors] == [KEY]
    assert (report.facts.cards, report.reasons) == ((), (AWAY,))
    assert [(s.score, s.passed, s.reasons[0].code) for s in scores] == [(0.4, 0.0, "MINER_TIMEOUT")]


@pytest.mark.parametrize(
    ("reasons", "record", "policy"),
    [
        ((AWAY,), replace(GRACED, no_verdicts_in_a_row=1), DEFAULT),  # the second epoch in a row
        ((AWAY,), replace(GRACED, last_score=0.0), DEFAULT),  # nothing to keep
        ((FORGED,), GRACED, DEFAULT),  # it did answer
        ((AWAY,), GRACED, LIUM_2025),  # no grace at all
    ],
)
def test_who_has_no_grace_stands_nowhere(tmp_path, reasons, record, policy):
    """A second silence, a last score of 0, a forged answer, a policy without grace: the door has no machines."""
    with ExitStack() as stack:
        run = known_run(tmp_path, stack, record=record, policy=policy)

        assert with_unheard(run, [silent(*reasons)]) == (silent(*reasons),)


class ChainOf:
    """A chain that tells the hash of the epoch's first block and nothing else; None: it is away."""

    def __init__(self, block_hash):
        self._block_hash = block_hash

    def block_hash(self, block):
        if self._block_hash is None:
            raise ChainAway("away")
        assert block == 400
        return self._block_hash

    def close(self):
        """Nothing is open."""


def shared_run(folder, stack, *, block_hash="0xaa", **changes):
    """Epoch 8 of one of two validators with as much stake, that share the machines out: each is drawn for one of them."""
    policy = replace(DEFAULT, inspection=replace(DEFAULT.inspection, is_shared_out=True))
    run = known_run(folder, stack, **{"policy": policy, **changes})
    own = run.edges.own_hotkey
    neurons = tuple(replace(n, has_permit=True, stake_rao=10) for n in subnet_of(own, "5Other").neurons)
    run.view = replace(run.view, neurons=neurons)
    run.edges = replace(run.edges, chain=ChainOf(block_hash))
    return run


def draws(run):
    """A hash by which the machine is ours, and one by which it is the other validator's."""
    stakes, own = permitted_stakes(run.view), run.edges.own_hotkey
    hashes = [f"0x{n:02x}" for n in range(64)]
    ours = {h: is_ours(KEY, own, stakes, h) for h in hashes}
    return next(h for h in hashes if ours[h]), next(h for h in hashes if not ours[h])


def test_a_machine_that_others_check_keeps_its_score(tmp_path):
    """By the grace that an epoch without a verdict has anyway; by the next hash it is ours, and nothing is noted."""
    with ExitStack() as stack:
        run = shared_run(tmp_path, stack)
        ours, theirs = draws(run)
        run.edges = replace(run.edges, chain=ChainOf(ours))
        leave_to_others(run, [RACK])
        assert run.unheard == {}

        run.edges = replace(run.edges, chain=ChainOf(theirs))
        leave_to_others(run, [RACK])
        list_in_state(run, RACK)
        (report,) = asyncio.run(inspect(run, [RACK]))
        (scored,) = asyncio.run(score(run, [RACK], [report], []))

    assert (scored.score, [r.code for r in scored.reasons]) == (0.4, ["NOT_DRAWN", "KEPT_LAST_SCORE"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"policy": DEFAULT}, "by default everybody checks everything"),
        ({"record": replace(GRACED, no_verdicts_in_a_row=1)}, "it had no verdict in the epoch before"),
        ({"record": replace(GRACED, last_score=0.0)}, "it has no score to keep"),
        ({"record": replace(GRACED, kept_scores=2)}, "its budget of kept scores is used up"),
    ],
)
def test_who_would_keep_no_score_is_checked_whoever_is_drawn(tmp_path, change, why):
    """The draw costs no machine its pay."""
    with ExitStack() as stack:
        run = shared_run(tmp_path, stack, **change)
        run.edges = replace(run.edges, chain=ChainOf(draws(run)[1]))
        leave_to_others(run, [RACK])

        assert run.unheard == {}, why


def test_without_the_hash_everybody_checks_everything(tmp_path):
    """A chain that is away can't say who is drawn: an incident, and no machine is left out; a leased one never is."""
    with ExitStack() as stack:
        run = shared_run(tmp_path, stack, block_hash=None)
        leave_to_others(run, [RACK])
        assert (run.unheard, [one.code for one in run.incidents]) == ({}, ["CHAIN_AWAY"])

        run.edges = replace(run.edges, chain=ChainOf(draws(run)[1]))
        run.leased_keys = frozenset({KEY})
        leave_to_others(run, [RACK])
        assert run.unheard == {}


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
