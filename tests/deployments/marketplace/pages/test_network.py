"""The network page: what the validator does now, what its epochs came to, and who has which weight, for everybody."""

from dataclasses import replace
from datetime import timedelta

import pytest

from deployments.marketplace.board import FRESH_S, Board, Share, shares_of, validators_of
from deployments.marketplace.chain_asking import FRESH_S as CHAIN_FRESH_S
from deployments.marketplace.chain_asking import ChainRows
from deployments.marketplace.pages import network
from deployments.marketplace.pages.bars import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, bars_of
from deployments.marketplace.pages.consensus import others_of
from storage.records import (
    EpochHeader,
    EpochState,
    EpochSummary,
    Phase,
    WeightOutcome,
    WeightStatus,
    WeightTarget,
    WeightVector,
)
from storage.snapshots import Snapshots
from storage.state import State
from tasks.errors import ChainAway
from tests.deployments.marketplace.pages.reading import Page, read
from tests.deployments.marketplace.pages.waiting import until
from tests.deployments.marketplace.world import world
from tests.tasks.renting.epochs import MINER, finish
from tests.tasks.renting.leases import NOON
from tests.tasks.scoring.worlds import executor

HOSTILE = '"><script>alert(1)</script>\u202e'


def machine(name):
    """A miner's machine."""
    return executor(MINER, name)


def header(epoch, **changes):
    """What is fixed of an epoch."""
    made = EpochHeader(epoch, 51, epoch * 50, "0xab", "5Validator", "default", "0" * 16, "0.1", NOON)
    return replace(made, **changes)


def summary(epoch, executors, paid, state=EpochState.FINISHED):
    """One line of the list."""
    return EpochSummary(header(epoch), state, NOON, executors, paid)


@pytest.fixture
def market(tmp_path):
    """A market whose validator has finished epoch 7 and is at work on epoch 8."""
    with world(tmp_path) as made:
        engine = made.market.engine
        targets = (WeightTarget(1, MINER, 0.75), WeightTarget(0, "5Owner", 0.25))
        outcome = WeightOutcome(WeightStatus.CONFIRMED, "", "", 351, "351-2", 0, targets[:1], ())
        finish(
            engine,
            [machine("a"), machine("b")],
            epoch=7,
            weights=(WeightVector(7, targets, 0.25), outcome),
        )
        made.state = State(engine)
        made.state.open_epoch(header(8, policy=HOSTILE))
        made.state.set_phase(Phase(8, "inspection", 3, 12, HOSTILE, NOON, None))
        made.state.set_phase(Phase(8, "discovery", 4, 4, "12 machines", NOON, NOON + timedelta(seconds=2)))
        yield made


def test_it_shows_the_epoch_at_work_and_the_weights_of_the_last(market):
    """Without a key: phases with their time, machines by epoch, each hotkey's share as meant and as the chain has it."""
    answer = market.stranger().get("/network")
    text = " ".join(" ".join(read(answer).texts).split())

    assert answer.status_code == 200
    assert "Epoch 8, at work" in text
    assert "2.0 s" in text
    assert "3/12" in text
    assert "Weights of epoch 7" in text
    assert "On the chain: confirmed, block 351" in text
    assert "0.7500 0.7500" in text
    assert "5Owner (owner)" in text


def test_foreign_text_stays_text(market):
    """Of a policy and a phase's note."""
    answer = market.stranger().get("/network")

    assert "<script>alert" not in answer.text
    assert "\u202e" not in answer.text


def test_an_open_page_is_sent_what_has_changed_and_nothing_else(market):
    """By its mark; a phase that went on makes another one."""
    stranger = market.stranger()
    first = stranger.get("/network/now")
    again = stranger.get("/network/now", headers={"If-None-Match": first.headers["etag"]})
    market.state.set_phase(Phase(8, "inspection", 12, 12, "", NOON, NOON + timedelta(seconds=9)))
    market.clock.passes(FRESH_S)
    changed = stranger.get("/network/now", headers={"If-None-Match": first.headers["etag"]})

    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert changed.status_code == 200
    assert "12/12" in changed.text
    assert "script-src 'self'" in changed.headers["content-security-policy"]


def test_before_the_first_epoch_it_says_so(tmp_path):
    """No machine, no weight, no picture."""
    with world(tmp_path, machines=0) as made:
        answer = made.stranger().get("/network")

    assert "No epoch has begun yet" in answer.text
    assert "<svg" not in answer.text


def test_however_many_look_the_state_is_read_once_a_second(market):
    """What changed in between is seen then."""
    now_s = 0.0
    board = Board(market.market.engine, lambda: now_s)
    first = board.look()
    now_s = FRESH_S / 2
    second = board.look()
    now_s = FRESH_S

    assert second is first
    assert board.look() is not first


def test_bars_stand_on_the_floor_and_the_newest_is_on_the_right():
    """The highest is that of the epoch with the most machines; paid ones are part of them."""
    drawn = bars_of([summary(9, 4, 1, EpochState.OPEN), summary(8, 8, 8), summary(7, 0, 0)])

    assert [bar.summary.header.epoch for bar in drawn.bars] == [7, 8, 9]
    empty, full, half = drawn.bars
    assert drawn.floor == HEIGHT - BOTTOM
    assert (empty.listed_y, full.listed_y, full.paid_y) == (drawn.floor, 12, 12)
    assert full.listed_y < half.listed_y < half.paid_y < drawn.floor
    assert half.is_open
    assert drawn.bars[0].x >= LEFT
    assert drawn.bars[-1].x + drawn.bars[-1].width <= WIDTH - RIGHT
    assert [text for _, text in drawn.labels] == ["7", "9"]


def test_nothing_is_drawn_of_nothing():
    """No epoch, or none that has listed a machine."""
    assert bars_of([]) is None
    assert bars_of([summary(1, 0, 0)]) is None


def test_shares_are_of_all_who_have_a_part_or_were_meant_to(market):
    """Meant and not on the chain, on the chain and not meant, and who earns by others' weights; the largest first."""
    snapshot = Snapshots(market.market.engine).newest()
    earning = replace(snapshot.neurons[MINER], hotkey="5Other", uid=9, incentive=0.1)
    snapshot = replace(snapshot, neurons={**snapshot.neurons, "5Other": earning})
    vector = WeightVector(7, (WeightTarget(1, MINER, 0.4), WeightTarget(5, "5Gone", 0.6)), 0.0)
    landed = WeightOutcome(WeightStatus.CONFIRMED, "", "", 1, "", 0, (WeightTarget(3, "5Extra", 1.0),), ())
    shares = shares_of(vector, landed, snapshot)

    assert [(one.hotkey, one.uid, one.meant, one.landed) for one in shares] == [
        ("5Gone", 5, 0.6, None),
        (MINER, 1, 0.4, None),
        ("5Other", 9, None, None),
        ("5Extra", 3, None, 1.0),
    ]
    assert shares_of(None, None, None) == ()


def test_validators_are_those_with_a_permit_by_their_stake(market):
    """All others are not named."""
    snapshot = Snapshots(market.market.engine).newest()
    some = replace(snapshot.neurons[MINER], has_permit=True, stake_rao=5)
    more = replace(some, hotkey="5More", uid=7, stake_rao=9)
    snapshot = replace(snapshot, neurons={**snapshot.neurons, MINER: some, "5More": more})

    assert [one.hotkey for one in validators_of(snapshot)] == ["5More", MINER]
    assert validators_of(None) == ()


def test_other_validators_weights_stand_beside_ours(market):
    """As the chain has them; how far they agree is what both give to the same."""
    snapshot = Snapshots(market.market.engine).newest()
    first = replace(snapshot.neurons[MINER], hotkey="5First", uid=7, has_permit=True, stake_rao=9)
    own = replace(first, hotkey="5Validator", uid=8)
    look = replace(market.desk.board.look(), validators=(first, own, replace(first, hotkey="5Silent", uid=9)))
    told = ChainRows(400, {"5First": {MINER: 0.5, "5Other": 0.5}, "5Validator": {MINER: 1.0}})

    (one,) = others_of(look, told)
    assert (one.uid, one.agreement) == (7, 0.5)
    assert others_of(look, None) == ()
    text = Page(network.shown(look, told, is_asked=True).body.decode()).text
    assert "by uid 7" in text
    assert "5First 0.0 0.0000 0 350 50.0 %" in text


def test_how_far_consensus_is_from_us_is_what_is_paid_elsewhere(market):
    """Half of all differences; nothing is known where nobody is paid."""
    look = market.desk.board.look()
    ours = [Share(n, f"5{n}", is_owner=False, meant=m, landed=None, incentive=i) for n, m, i in
            ((1, 0.75, 0.5), (2, 0.25, 0.25), (3, None, 0.25))]  # fmt: skip

    assert replace(look, shares=tuple(ours)).disagreement == 0.25
    assert look.disagreement is None


def test_the_chain_is_asked_for_them_and_nobody_waits(market):
    """First it is said that it is asked, then what it told, or that it did not answer."""
    answers = [ChainRows(400, {}), ChainAway("x", "y")]
    made = market.rebuilt(chain_rows=lambda: _next(answers))
    stranger = made.stranger()

    assert "The chain is being asked" in read(stranger.get("/network")).text
    until(lambda: "No other validator has set weights at block 400" in stranger.get("/network/now").text)
    made.clock.passes(CHAIN_FRESH_S)
    until(
        lambda: (
            "did not tell the weights of other validators (ChainAway)" in stranger.get("/network/now").text
        )
    )
    made.desk.close()


def _next(answers):
    found = answers.pop(0)
    if isinstance(found, Exception):
        raise found
    return found
