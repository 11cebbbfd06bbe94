"""Weights: whole, bounded, blind to order, and never made of a NaN."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.records import Executor, MinerReply, Reason, Score, Severity, WeightTarget
from tasks.errors import NoWeights
from tasks.policy import WeightPolicy
from tasks.scoring.shares import Earned, Ground, is_nobody_heard, weight_vector
from tests.tasks.scoring.worlds import score, view

HOTKEYS = ("5Alice", "5Bob", "5Carol", "5Dave")
SUBNET = view(*HOTKEYS)
GROUND = Ground.of(SUBNET)

values = st.floats(0, allow_infinity=False) | st.sampled_from([0.0, 1.0, 5e-324, 1.7e308])
scores = st.lists(st.builds(score, values, st.sampled_from([*HOTKEYS, "5Gone"])), max_size=12)
burns = st.sampled_from([0.0, 0.2, 0.8, 1.0]) | st.floats(0, 1)


def weights(of_scores, burn_share=0.0, subnet=SUBNET):
    """Weight by hotkey."""
    vector = weight_vector(7, of_scores, Ground.of(subnet), WeightPolicy(burn_share=burn_share))
    return {target.hotkey: target.weight for target in vector.targets}


def test_a_miners_share_is_that_of_its_machines():
    """Alice's machines score 1 + 2, Bob's 1, a fifth is burned: .6, .2 and .2, by uid."""
    vector = weight_vector(
        7, [score(1.0), score(2.0, name="m-1"), score(1.0, "5Bob")], GROUND, WeightPolicy(burn_share=0.2)
    )

    assert (vector.epoch, vector.burn_share) == (7, 0.2)
    assert vector.targets == (
        WeightTarget(0, "5Owner", 0.2),
        WeightTarget(1, "5Alice", pytest.approx(0.6)),
        WeightTarget(2, "5Bob", pytest.approx(0.2)),
    )


@pytest.mark.parametrize(
    "nothing", [[], [score(0.0)], [score(0.0), score(0.0, "5Bob")], [score(9.0, "5Gone")]]
)
@pytest.mark.parametrize("burn_share", [0.0, 0.2])
def test_when_nobody_scored_all_is_burned(nothing, burn_share):
    """Whatever the policy's share: nothing to pay means that the owner's uid gets all of it, and the vector says so."""
    vector = weight_vector(7, nothing, GROUND, WeightPolicy(burn_share=burn_share))

    assert (vector.targets, vector.burn_share) == ((WeightTarget(0, "5Owner", 1.0),), 1.0)


def test_scores_that_are_shares_leave_the_rest_to_burn():
    """Alice has 0.09 of two epochs' emission and Bob 0.2 of one: .09, .1, and .81 burns; who is gone leaves his part too."""
    earned = [Earned("5Alice/m-0", "5Alice", 0.09), Earned("5Gone/m-0", "5Gone", 0.5)]
    now = [score(0.09), score(0.2, "5Bob")]

    vector = weight_vector(7, [*earned, *now], GROUND, WeightPolicy(scores_are_shares=True), 6)

    assert vector.burn_share == pytest.approx(0.81)
    assert {t.hotkey: t.weight for t in vector.targets} == pytest.approx(
        {"5Owner": 0.81, "5Alice": 0.09, "5Bob": 0.1}
    )


@pytest.mark.parametrize("left", [0.0, 1e-9])
def test_shares_of_nearly_all_leave_nothing_below_zero(left):
    """What rounding makes more than 1 burns nothing, and the weights are 1 together."""
    vector = weight_vector(
        7, [score(1.0 - left), score(1e-9, "5Bob")], GROUND, WeightPolicy(scores_are_shares=True)
    )

    assert math.fsum(t.weight for t in vector.targets) == pytest.approx(1.0)
    assert vector.burn_share == pytest.approx(0.0, abs=1e-12)


def test_scores_of_earlier_epochs_add_up():
    """Alice earned 3 in the last epoch and nothing now, Bob 1 now: three quarters and a quarter, from epoch 6 on."""
    earned = [Earned("5Alice/m-0", "5Alice", 3.0), Earned("5Bob/m-0", "5Bob", 0.0)]
    vector = weight_vector(7, [*earned, score(0.0), score(1.0, "5Bob")], GROUND, WeightPolicy(), 6)

    assert vector.first_epoch == 6
    assert [(t.hotkey, t.weight) for t in vector.targets] == [("5Alice", 0.75), ("5Bob", 0.25)]


FOUR = WeightPolicy(burn_share=0.8, burn_uids=(1, 2, 3, 4))


def test_uids_that_burn_get_a_hundredth_each_and_one_the_rest():
    """0.80 over four uids: .77 for the one drawn, .01 for each of the others, and 0.20 for the miners."""
    earner = score(1.0, "5Owner")
    (burnt,) = [weight_vector(7, [earner], GROUND, FOUR).targets]

    assert sorted(round(t.weight, 12) for t in burnt) == [0.01, 0.01, 0.01, 0.2, 0.77]


def test_who_burns_most_is_drawn_by_the_epochs_block():
    """Over many epochs each of the four is drawn, by a hash that everybody can read again."""

    def drawn(block_hash):
        vector = weight_vector(7, [score(1.0, "5Owner")], GROUND._replace(block_hash=block_hash), FOUR)
        return max(vector.targets, key=lambda t: t.weight).uid

    assert {drawn(f"0x{n:064x}") for n in range(64)} == {1, 2, 3, 4}
    assert drawn("0xab") == drawn("0xab")


def test_uids_that_the_subnet_does_not_have_burn_nothing():
    """Of uids 4 and 206 only 4 is there and burns all; where none is there, the owner does."""
    for uids, burner in (((4, 206), 4), ((206, 207), 0)):
        policy = WeightPolicy(burn_share=0.5, burn_uids=uids)
        vector = weight_vector(7, [score(1.0)], GROUND, policy)

        assert {t.uid: t.weight for t in vector.targets} == {burner: 0.5, 1: 0.5}


def test_more_minor_burning_than_burning_is_refused():
    """Three uids at 0.3 each are more than 0.5 together."""
    policy = WeightPolicy(burn_share=0.5, burn_uids=(1, 2, 3), burn_minor_share=0.3)

    with pytest.raises(NoWeights, match=r"more than the burn share 0\.5"):
        weight_vector(7, [score(1.0)], GROUND, policy)


def test_without_burning_the_owner_gets_nothing():
    """A burn share of 0 leaves no target for the owner, and needs no uid of the owner."""
    orphaned = replace(SUBNET, owner_hotkey="5Nobody")

    assert weights([score(1.0)], 0.0, orphaned) == {"5Alice": 1.0}


def test_an_owner_that_mines_gets_both_parts_on_one_uid():
    """A hotkey is one target: its machines' share and what is burned add up."""
    assert weights([score(1.0, "5Owner"), score(1.0)], 0.5) == {"5Owner": 0.75, "5Alice": 0.25}


def test_a_miner_that_is_not_registered_gets_nothing():
    """The share of a hotkey without uid is the others'."""
    assert weights([score(3.0, "5Gone"), score(1.0), score(1.0, "5Bob")]) == {"5Alice": 0.5, "5Bob": 0.5}


@given(scores, burns)
@settings(deadline=None)
def test_weights_are_whole_and_bounded(some, burn_share):
    """For any scores: weights are finite, above 0, at most 1, together 1, each uid once, in order."""
    targets = weight_vector(7, some, GROUND, WeightPolicy(burn_share=burn_share)).targets

    assert math.fsum(t.weight for t in targets) == pytest.approx(1.0, abs=1e-12)
    assert all(0.0 < t.weight <= 1.0 for t in targets)
    assert [t.uid for t in targets] == sorted({t.uid for t in targets})


@given(scores, burns, st.randoms())
@settings(deadline=None)
def test_the_order_of_the_scores_changes_no_bit(some, burn_share, random):
    """Machines in any order give the very same weights."""
    shuffled = random.sample(some, len(some))

    assert weights(shuffled, burn_share) == weights(some, burn_share)


@given(scores, burns, st.integers(0, 11), st.floats(0, 1e300))
@settings(deadline=None)
def test_a_higher_score_never_lowers_its_miners_weight(some, burn_share, position, more):
    """One machine's score raised: its miner's weight does not fall."""
    if not some:
        return
    lucky = some[position % len(some)]
    higher = max(lucky.score, min(lucky.score + more, 1.7e308))
    raised = [replace(s, score=higher) if s is lucky else s for s in some]
    if lucky.miner_hotkey == "5Gone":
        return

    before = weights(some, burn_share).get(lucky.miner_hotkey, 0.0)
    after = weights(raised, burn_share).get(lucky.miner_hotkey, 0.0)

    assert after >= before * (1 - 1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0])
def test_a_score_that_is_no_number_is_refused(bad):
    """NaN, infinity and less than nothing stop here, with the machine's name: no vector is made."""
    with pytest.raises(NoWeights, match="score of executor '5Bob/m-0' is"):
        weight_vector(7, [score(1.0), score(bad, "5Bob")], GROUND, WeightPolicy())


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1, math.inf])
def test_a_burn_share_out_of_range_is_refused(bad):
    """A share is from 0 to 1."""
    with pytest.raises(NoWeights, match="burn share is"):
        weight_vector(7, [score(1.0)], GROUND, WeightPolicy(burn_share=bad))


def test_burning_without_an_owner_is_refused():
    """When there is something to burn and the owner has no uid, nothing is set, rather than all to the miners."""
    with pytest.raises(NoWeights, match="owner's hotkey 5Nobody has no uid"):
        weights([score(1.0)], 0.2, replace(SUBNET, owner_hotkey="5Nobody"))


# --- u16 -------------------------------------------------------------------------------------------

SILENT = Reason("HOST_TIMEOUT", Severity.NO_VERDICT, "", "", "")
WRONG = Reason("WALK_STATE_WRONG", Severity.FAIL, "", "", "")
MACHINE = Executor("e", "m", 1, 0, "127.0.0.1", 22, "u", "/p", b"", 1.0)
ANSWERED = MinerReply("m", 1, (MACHINE,), (), b"signed")


EMPTY = MinerReply("m", 1, (), (), b"signed")
OTHER_EMPTY = MinerReply("n", 2, (), (), b"signed")


def verdict_of(passed: float, *reasons: Reason) -> Score:
    return Score("m/e", "m", 1, "L4", 1, 0, 1.0, 1.0, 1.0, 1.0, 1.0, passed, passed, reasons)


@pytest.mark.parametrize(
    ("replies", "scores", "is_silent"),
    [
        ((), (), False),  # nobody serves: there is nobody to pay
        ((ANSWERED,), (verdict_of(1.0),), False),
        ((ANSWERED,), (verdict_of(0.0, WRONG),), False),
        ((ANSWERED,), (verdict_of(0.0, SILENT),), True),
        ((MinerReply("m", 1, (), (SILENT,)),), (), True),
        ((EMPTY,), (), False),  # it has no machines, and says so
        (
            (MinerReply("m", 1, (), (WRONG,)),),
            (),
            True,
        ),  # its endpoint is no address: nothing was heard of it
        ((ANSWERED, OTHER_EMPTY), (verdict_of(0.0, SILENT),), True),
        ((ANSWERED, MinerReply("n", 2, (), (WRONG,), b"signed")), (verdict_of(0.0, SILENT),), True),
    ],
)
def test_silence_of_all_is_told_from_failure(replies, scores, is_silent):
    """Only when miners were asked and not one machine or miner was heard, the trouble is taken to be our own."""

    assert is_nobody_heard(replies, scores) is is_silent


@pytest.mark.parametrize(
    ("replies", "is_silent"),
    [
        ((MinerReply("m", 1, (), (SILENT,)), OTHER_EMPTY), True),  # the known one is away
        ((EMPTY, OTHER_EMPTY), False),  # it has taken its machine out, and says so
        ((OTHER_EMPTY,), False),  # it serves no more
    ],
)
def test_one_miner_does_not_speak_for_another_that_is_silent(replies, is_silent):
    """While a miner that had machines yesterday is not heard, an empty list of somebody else burns nobody's pay."""

    assert is_nobody_heard(replies, (), frozenset({"m"})) is is_silent
