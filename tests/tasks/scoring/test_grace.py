"""No verdict is not a failed verdict: the last score is kept for one epoch, and not too often."""

from dataclasses import replace

import pytest

from storage.records import ExecutorRecord, Grounds, MinerReply, Reason, Score, Severity, Standing
from tasks.policy import DEFAULT, RecordPolicy
from tasks.scoring.grace import KEPT_LAST_SCORE, is_kept, with_grace
from tasks.scoring.shares import is_nobody_heard
from tests.tasks.scoring.worlds import NOW

POLICY = RecordPolicy()
AWAY = Reason("HOST_UNREACHABLE", Severity.NO_VERDICT, "", "", "")
WRONG = Reason("WALK_STATE_WRONG", Severity.FAIL, "", "", "")
LOWERED = Reason("HOST_MINIMUM_LOWERED", Severity.WARN, "", "", "")
GOOD = ExecutorRecord("m/1", epochs_seen=40, epochs_passed=30, last_score=0.4, last_score_epoch=6)


def unpaid(*reasons: Reason) -> Score:
    return Score("m/1", "m", 4, "L4", 1, 0, 0.11, 0, 1, 1, 1, 0.0, 0.0, reasons)


def graced(record: ExecutorRecord, *reasons: Reason, policy: RecordPolicy = POLICY) -> Score:
    standing = Standing("m/1", record, is_leased=False, deposited_rao=0)
    grounds = Grounds(NOW, DEFAULT.to_json(), "5Owner", (), (standing,))
    (score,) = with_grace([unpaid(*reasons)], grounds, policy)
    return score


def test_the_last_score_is_kept_and_the_bill_says_so():
    """The score of the last verdict, `passed` still 0, and a warning that names the epoch it is from."""

    score = graced(GOOD, AWAY)

    assert (score.score, score.passed) == (0.4, 0.0)
    assert score.reasons[-1].code == KEPT_LAST_SCORE
    assert score.reasons[-1].got == "the score of epoch 6: 0.4"
    assert not score.reasons[-1].decides


@pytest.mark.parametrize(
    ("record", "reasons"),
    [
        (replace(GOOD, no_verdicts_in_a_row=1), (AWAY,)),  # the second in a row
        (GOOD, (AWAY, WRONG)),  # something failed beside it
        (GOOD, (LOWERED,)),  # nothing decided: the score itself was 0
        (replace(GOOD, last_score=0.0), (AWAY,)),  # the last verdict was a failed one
        (ExecutorRecord("m/1"), (AWAY,)),  # never seen before
        (replace(GOOD, kept_scores=2), (AWAY,)),  # 2 x 20 of 30 epochs passed
    ],
)
def test_whoever_is_not_in_grace_gets_nothing(record, reasons):
    """A second silence, a failure, a last score of 0, a stranger, and a machine that is away too often."""

    assert graced(record, *reasons).score == 0.0


def test_grace_comes_again_with_the_budget():
    """Kept twice, a third time is within 5 % from the fortieth passed epoch on."""

    assert graced(replace(GOOD, kept_scores=2, epochs_passed=39), AWAY).score == 0.0
    assert graced(replace(GOOD, kept_scores=2, epochs_passed=40), AWAY).score == 0.4


def test_being_listed_saves_up_no_grace():
    """A name that was announced for two months without a machine behind it has no epochs to be forgiven."""
    hollow = replace(GOOD, epochs_seen=8_640, epochs_passed=1, kept_scores=1)

    assert graced(hollow, AWAY).score == 0.0


def test_who_passed_is_not_in_grace():
    """A machine that passed and is paid 0 for another reason, such as a price that is missing, is not silent."""
    missing = Reason("TOKEN_PRICE_MISSING", Severity.NO_VERDICT, "", "", "")
    standing = Standing("m/1", GOOD, is_leased=False, deposited_rao=0)
    grounds = Grounds(NOW, DEFAULT.to_json(), "5Owner", (), (standing,))

    (score,) = with_grace([replace(unpaid(missing), passed=1.0)], grounds, POLICY)

    assert score.score == 0.0


def test_a_policy_without_grace_keeps_nothing():
    """`grace_epochs` 0 is no grace at all."""

    assert not is_kept(graced(GOOD, AWAY, policy=replace(POLICY, grace_epochs=0)))


def test_a_check_in_shadow_fails_nobody():
    """What failed in shadow beside a silence takes no grace away."""

    assert graced(GOOD, AWAY, replace(WRONG, is_shadow=True)).score == 0.4


def test_kept_scores_are_no_sign_of_life():
    """When every machine's score is kept, nobody was heard, and weights stay as they are."""

    reply = MinerReply("m", 4, (), (), b"signed")
    banned = Reason("MINER_BANNED", Severity.FAIL, "", "", "")

    assert is_nobody_heard([reply], [graced(GOOD, AWAY)])
    # Nor is a ban, which is known without hearing anything.
    assert is_nobody_heard([reply], [graced(GOOD, AWAY), unpaid(AWAY, banned)])
    assert not is_nobody_heard([reply], [graced(GOOD, AWAY), unpaid(WRONG)])
