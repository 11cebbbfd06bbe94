"""Weights as a step, over a real state, a real history and the embedded chain: set once a tempo, whatever dies when."""

import asyncio
import contextlib
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from flows.validate import validate_epoch
from storage import tables
from storage.database import migrate
from storage.history import read_scores, read_table, write_epoch
from storage.records import EpochHeader, Executor, MinerReply, Score, WeightStatus
from storage.runs import this_run
from storage.state import State
from tasks.edges.chain import Chain, ChainSettings
from tasks.edges.peers import Peers
from tasks.edges.shell import Shell
from tasks.epoch import Edges, EpochRun
from tasks.landing import settle
from tasks.policy import LOCALNET, WeightPolicy
from tasks.weights import mean, set_weights
from tests.databases import fresh
from tests.tasks.inspection.runs import NOON
from tests.tasks.nodes import make_node

POLICY = replace(LOCALNET, weights=WeightPolicy(version_key=0))
DEAD = replace(this_run(), token="dead", boot_id="before")


class World:
    """A validator's state, history and chain; each epoch is a run of its own, as after a restart."""

    def __init__(self, folder, node, edges):
        self.folder, self.node, self.edges = folder, node, edges

    def epoch(self, *scored, dies=None, is_closed=True):
        """One epoch that scores (miner, value) pairs and sets weights; how its weights ended.

        `dies`: where the run is killed: "meant" before anything is sent, "sent" before it knows what became of it.
        `is_closed`: whether the next run begins in another epoch.
        """
        view = self.edges.chain.view()
        state = State(self.edges.engine, run=None if is_closed else DEAD)
        head, own = view.head, self.edges.own_hotkey
        header = EpochHeader(head.epoch, 51, head.block, head.block_hash, own, "p", "d", "0", NOON)
        for earlier in state.open_epoch(header).unarchived:
            self.archive(state, earlier)
        with EpochRun(self.edges, state=state, header=header, policy=POLICY, view=view, records={}) as run:
            replies, scores = self.found(scored)
            state.save_discovery(run.epoch, replies, [e for r in replies for e in r.executors])
            state.save_scores(run.epoch, scores)
            if dies is not None:
                asyncio.run(settle(run))
                vector = mean(run, scores)
                if dies == "sent":
                    run.edges.chain.submit_weights(vector.targets, version_key=0, epoch_began_block=0)
                if is_closed:
                    state.abandon_epoch(run.epoch)
                return vector, None
            vector, outcome = asyncio.run(set_weights(run, replies, scores))
            self.incidents = tuple(run.incidents)
            state.finish_epoch(run.epoch)
            self.archive(state, run.epoch)
            return vector, outcome

    def found(self, scored):
        """Answers and scores of miners with one machine each."""
        replies, scores = [], []
        for name, value in scored:
            hotkey = self.node.hotkey(name)
            machine = Executor("a", hotkey, 3, 1, "127.0.0.2", 22, "u", "/p", b"k", 1.0)
            replies.append(MinerReply(hotkey, 3, (machine,), (), b"signed"))
            scores.append(Score(machine.key, hotkey, 3, "L4", 1, 0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, value, ()))
        return replies, scores

    def archive(self, state, epoch):
        """Write a closed epoch into the history."""
        write_epoch(self.edges.history, state.load_outcome(epoch))
        state.mark_archived(epoch)

    def lose_state(self):
        """Go on with an empty one."""
        self.edges.engine.dispose()
        for file in self.folder.glob("state.sqlite*"):
            file.unlink()
        migrate(self.edges.engine)

    def next_epoch(self, count=1):
        """Let 50 blocks pass for each."""
        self.node.substrate.advance(50 * count)

    def events(self):
        """What the archive tells of weights: kind and subject, oldest first."""
        told = read_table(self.edges.history, "events")
        return list(zip(told["kind"], told["subject"], strict=True))

    def row(self):
        """Our row on the chain by role, rounded."""
        names = {self.node.hotkey(name): name for name in self.node.wallets}
        return {names[t.hotkey]: round(t.weight, 3) for t in self.edges.chain.own_weights()}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A subnet whose tempo lasts four epochs of 50 blocks; `world(...)` takes other hyperparameters."""
    for name in ("BITTENSOR_RUNTIME_CACHE_DIR", "BTCLI_TOKEN_SYMBOLS_CACHE"):
        monkeypatch.setenv(name, "")
    with contextlib.ExitStack() as stack:

        def make(**hyperparameters):
            node = make_node(tmp_path / "chain.db", **{"tempo": 200, **hyperparameters})
            stack.callback(node.substrate.ledger.close)
            node.substrate.advance(200)
            engine = fresh(tmp_path, "state.sqlite")
            stack.callback(engine.dispose)
            wallet = node.wallets["v1"]
            settings = ChainSettings(cache=tmp_path / "cache")
            chain = Chain(settings, wallet=wallet, substrate_factory=node.factory)
            stack.callback(chain.close)
            edges = Edges(
                chain=chain,
                peers=Peers(wallet.hotkey),
                shell=Shell(),
                engine=engine,
                history=tmp_path / "history",
                own_hotkey=wallet.hotkey.ss58_address,
                is_embedded=True,
                max_sessions=8,
            )
            return World(tmp_path, node, edges)

        yield make


def test_scores_add_up_until_the_next_weights(world):
    """m1 earns 3 in one epoch and m2 1 in the next: the weights of the next tempo pay both, 3 to 1, and no third."""
    market = world()
    market.epoch(("m3", 1.0))
    market.next_epoch()
    _, waiting = market.epoch(("m1", 3.0), ("m2", 0.0))
    market.next_epoch(4)
    vector, outcome = market.epoch(("m1", 0.0), ("m2", 1.0))

    assert (waiting.status, waiting.code) == (WeightStatus.NOT_YET, "WeightsSetThisTempo")
    assert outcome.status is WeightStatus.CONFIRMED
    assert vector.first_epoch == vector.epoch - 4
    assert market.row() == {"m1": 0.75, "m2": 0.25}
    assert market.node.extrinsics_of("v1") == 2


def test_what_was_set_is_not_paid_again(world):
    """The weights of a tempo pay what came after the last ones, and nothing before."""
    market = world()
    market.epoch(("m1", 9.0))
    market.next_epoch(4)
    vector, _ = market.epoch(("m2", 1.0))

    assert vector.first_epoch == vector.epoch
    assert market.row() == {"m2": 1.0}


def test_a_run_that_died_before_sending_loses_no_score(world):
    """Killed with its vector in the state: the next run finds nothing on the chain, and pays both epochs."""
    market = world()
    market.epoch(("m1", 3.0), dies="meant")
    market.next_epoch()
    vector, outcome = market.epoch(("m1", 0.0), ("m2", 1.0))

    assert outcome.status is WeightStatus.CONFIRMED
    assert vector.first_epoch == vector.epoch - 1
    assert market.row() == {"m1": 0.75, "m2": 0.25}
    assert market.node.extrinsics_of("v1") == 1


def test_a_run_that_died_after_sending_has_paid(world):
    """Killed before it knew: the next run reads the chain first, and sends nothing again in this tempo."""
    market = world()
    market.epoch(("m1", 3.0), dies="sent")
    market.next_epoch()
    _, outcome = market.epoch(("m2", 1.0))

    assert outcome.code == "WeightsSetThisTempo"
    assert market.row() == {"m1": 1.0}
    assert market.node.extrinsics_of("v1") == 1
    market.next_epoch(4)
    vector, outcome = market.epoch(("m2", 1.0))
    assert vector.first_epoch == vector.epoch - 4
    assert market.row() == {"m2": 1.0}
    assert [kind for kind, _ in market.events()] == ["WEIGHTS_FOUND"]


def test_what_a_dead_run_has_paid_stays_as_it_was(world):
    """Killed after sending and begun again in the same epoch: nobody is scored anew, and the archive has what was paid."""
    market = world()
    vector, _ = market.epoch(("m1", 3.0), ("m2", 1.0), dies="sent", is_closed=False)
    outcome = asyncio.run(validate_epoch(market.edges, None, POLICY))

    assert [s.score for s in outcome.scores] == [3.0, 1.0]
    assert (outcome.weights, outcome.weight_outcome.status) == (vector, WeightStatus.ALREADY_SET)
    assert read_scores(market.edges.history, outcome.epoch) == outcome.scores
    assert market.node.extrinsics_of("v1") == 1


def test_a_night_without_the_chain_is_one_question_in_the_morning(world):
    """Our row is as old as before: none of the many vectors that nobody saw set is looked for by itself."""
    market = world()
    asked = []

    class Asked(Chain):
        def find_weights(self, targets, **options):
            asked.append(targets)
            return super().find_weights(targets, **options)

    for _ in range(4):
        market.epoch(("m1", 1.0), dies="meant")
        market.next_epoch()
    market.edges.chain.__class__ = Asked
    vector, outcome = market.epoch(("m2", 4.0))

    assert (asked, outcome.status) == ([], WeightStatus.CONFIRMED)
    assert vector.first_epoch == vector.epoch - 4
    assert market.row() == {"m1": 0.5, "m2": 0.5}


def test_equal_weights_of_an_earlier_epoch_are_not_taken_for_ones_in_doubt(world):
    """The row is what the dead run meant, but it was set before it: its scores are not paid by that."""
    market = world()
    market.epoch(("m1", 1.0))
    market.next_epoch()
    vector, _ = market.epoch(("m1", 5.0), dies="meant")
    market.next_epoch(4)
    later, outcome = market.epoch(("m2", 5.0))

    assert (later.first_epoch, outcome.status) == (vector.epoch, WeightStatus.CONFIRMED)
    assert market.row() == {"m1": 0.5, "m2": 0.5}


def test_scores_that_wait_are_bounded(world):
    """A validator without a permit for days does not pay last week's miners when it gets one."""
    market = world()
    market.epoch(("m1", 1.0), dies="meant")
    market.next_epoch(289)
    vector, _ = market.epoch(("m2", 1.0))

    assert vector.first_epoch == vector.epoch
    assert market.row() == {"m2": 1.0}


def test_a_row_that_somebody_else_has_set_is_an_incident(world):
    """Weights set with our key by another process: told one epoch later, with the share that goes elsewhere."""
    market = world()
    market.epoch(("m1", 1.0))

    def other(state):
        state.neurons[1].weights = {4: 65_535}

    market.node.change(other)
    market.next_epoch()
    market.epoch(("m1", 1.0))

    (incident,) = market.incidents
    assert incident.code == "WEIGHTS_DIFFER"
    assert "100.0% of the emission" in incident.got


def test_weights_that_stay_are_landed_after_two_tempos(world):
    """Nothing but looks: one event tells that what was meant was on the chain, and no incident."""
    market = world()
    first, _ = market.epoch(("m1", 1.0))
    for _ in range(2):
        market.next_epoch(4)
        market.epoch(("m1", 1.0))

    assert market.events()[0] == ("WEIGHTS_LANDED", f"epoch {first.epoch}")
    assert market.incidents == ()


def test_sealed_weights_land_when_they_are_revealed(world):
    """Under commit-reveal the row is followed over the reveal: committed, then seen, then landed."""
    market = world(commit_reveal=True)
    first, outcome = market.epoch(("m1", 1.0))
    seen = []
    for _ in range(8):
        market.next_epoch()
        market.epoch(("m1", 1.0))
        seen += [landing.epoch for landing in State(market.edges.engine).open_landings()]

    assert outcome.status is WeightStatus.COMMITTED
    assert first.epoch in seen
    assert first.epoch not in [x.epoch for x in State(market.edges.engine).open_landings()]
    assert market.incidents == ()
    assert market.row() == {"m1": 1.0}


def test_a_state_that_was_lost_pays_nothing_twice(world):
    """The archive tells which weights were set: scores that they have paid are not paid again by an empty state."""
    market = world()
    market.epoch(("m1", 9.0))
    market.next_epoch(4)
    market.lose_state()
    vector, outcome = market.epoch(("m2", 1.0))

    assert (vector.first_epoch, outcome.status) == (vector.epoch, WeightStatus.CONFIRMED)
    assert market.row() == {"m2": 1.0}


def test_a_state_that_was_lost_pays_nothing_twice_that_was_found(world):
    """The run that set the weights died, the next one found them, and then the state was lost: the archive tells it."""
    market = world()
    market.epoch(("m1", 9.0), dies="sent")
    market.next_epoch()
    market.epoch(("m2", 1.0))
    market.next_epoch(4)
    market.lose_state()
    vector, _ = market.epoch(("m2", 1.0))

    assert vector.first_epoch == vector.epoch - 4
    assert market.row() == {"m2": 1.0}


@pytest.mark.parametrize("harm", [lambda file: file.write_bytes(b"PAR1 no more"), Path.unlink])
def test_a_file_that_cannot_be_read_stops_no_weights(world, harm):
    """A file of the archive is damaged or gone: the state has the same scores, and they are paid."""
    market = world()
    market.epoch(("m3", 1.0))
    market.next_epoch()
    market.epoch(("m1", 3.0))
    market.next_epoch(4)
    newest = max((market.edges.history / "scores").rglob("*.parquet"), key=lambda path: path.stat().st_mtime)
    harm(newest)
    _, outcome = market.epoch(("m2", 1.0))

    assert outcome.status is WeightStatus.CONFIRMED
    assert market.row() == {"m1": 0.75, "m2": 0.25}


def test_an_archive_that_was_lost_loses_no_score_that_the_state_has(world):
    """Restored from yesterday, the archive lacks an epoch that it had: the state still has its scores."""
    market = world()
    market.epoch(("m3", 1.0))
    market.next_epoch()
    market.epoch(("m1", 3.0))
    market.next_epoch(4)
    shutil.rmtree(market.edges.history)
    market.epoch(("m2", 1.0))

    assert market.row() == {"m1": 0.75, "m2": 0.25}


def test_weights_in_doubt_are_found_when_one_of_their_miners_is_gone(world):
    """A uid changes hands between the kill and the next run: the row is still the one that was meant."""
    market = world()
    market.epoch(("m1", 3.0), ("m3", 1.0), dies="sent")

    def other(state):
        state.neurons[5].hotkey = market.node.hotkey("stranger")
        state.hotkey_owner[market.node.hotkey("stranger")] = market.node.wallets[
            "stranger"
        ].coldkey.ss58_address

    market.node.change(other)
    market.next_epoch(4)
    vector, _ = market.epoch(("m2", 1.0))

    assert vector.first_epoch == vector.epoch
    assert market.row() == {"m2": 1.0}


def test_weights_are_followed_whatever_died_after_them(world):
    """Killed between what became of them and the begin of following: the next run follows them."""
    market = world()
    first, _ = market.epoch(("m1", 1.0))
    with market.edges.engine.begin() as connection:
        connection.execute(sa.delete(tables.landings))
    market.next_epoch()
    market.epoch(("m1", 1.0))

    assert [x.epoch for x in State(market.edges.engine).open_landings()] == [first.epoch]


def test_sealed_weights_land_however_late_they_are_revealed(world):
    """Revealed three tempos later: they are not given up before."""
    market = world(commit_reveal=True, reveal_period_epochs=3)
    first, _ = market.epoch(("m1", 1.0))
    troubles = []
    for step in range(7):
        market.next_epoch(4)
        market.epoch(("m1" if step < 2 else "m2", 1.0))
        troubles += market.incidents

    assert troubles == []
    assert ("WEIGHTS_LANDED", f"epoch {first.epoch}") in market.events()


def test_sealed_weights_land_as_the_chain_rounds_and_cuts_them(world):
    """A greatest weight of the subnet,: what was sent is looked for, not what was wished."""
    market = world(commit_reveal=True, max_weights_limit=40_000)
    first, _ = market.epoch(("m1", 3.0), ("m2", 1.0))
    troubles = []
    for _ in range(6):
        market.next_epoch(2)
        market.epoch(("m1", 3.0), ("m2", 1.0))
        troubles += market.incidents

    assert troubles == []
    assert ("WEIGHTS_LANDED", f"epoch {first.epoch}") in market.events()


LONG = pytest.mark.long


@pytest.mark.slow
@pytest.mark.parametrize("seed", [pytest.param(0, marks=LONG), 1, pytest.param(2, marks=LONG)])
def test_every_epoch_is_paid_once_whatever_is_killed_and_lost(world, seed):
    """Thirty epochs, runs killed before and after sending, the state or the archive lost now and then: the weights that
    land pay all epochs, each once. Both lost within two tempos is more than anybody can mend, and does not happen here.
    """
    fate, market = Random(seed), world(commit_reveal=seed % 2 == 1)
    worked, paid, lost_at = [], [], {"state": -99, "archive": -99}
    for number in range(30):
        sent_before = market.node.extrinsics_of("v1")
        dies = fate.choice([None, None, None, "meant", "sent"])
        vector, _ = market.epoch(("m1", fate.random()), ("m2", fate.random()), dies=dies)
        worked.append(vector.epoch)
        if market.node.extrinsics_of("v1") > sent_before:
            paid += [e for e in worked if vector.first_epoch <= e <= vector.epoch]
        if dies is None and fate.random() < 0.1 and number - lost_at["archive"] > 8:
            market.lose_state()
            lost_at["state"] = number
        elif fate.random() < 0.1 and number - lost_at["state"] > 8:
            shutil.rmtree(market.edges.history, ignore_errors=True)
            lost_at["archive"] = number
        market.next_epoch(fate.choice([1, 1, 1, 2, 4]))

    assert max(lost_at.values()) > 0
    assert paid == [e for e in worked if e <= paid[-1]]
