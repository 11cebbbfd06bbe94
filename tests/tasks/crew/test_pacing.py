"""How fast a hand starts sessions, and how long it waits for who is slow: pure rules over counts and instants."""

import pytest

from tasks.crew.pacing import Pace
from tasks.crew.patience import ANSWER_S, LEAST_S, Patience

USUAL = Pace(usual_per_s=100.0, now_per_s=100.0)


def test_a_hand_that_is_late_starts_fewer():
    """A quarter of a second late is a brake, look after look, down to a tenth of the usual rate."""
    once = USUAL.next(late_s=0.3, waiting=500, left_s=200.0)
    often = USUAL
    for _ in range(50):
        often = often.next(late_s=0.3, waiting=500, left_s=200.0)

    assert once.now_per_s == pytest.approx(70.0)
    assert often.now_per_s == pytest.approx(10.0)


def test_a_hand_that_is_in_time_again_comes_back_to_the_usual_rate():
    """It gives gas a little at a time, never beyond the usual while there is time enough."""
    pace = Pace(usual_per_s=100.0, now_per_s=10.0)
    for _ in range(60):
        pace = pace.next(late_s=0.0, waiting=500, left_s=200.0)

    assert pace.now_per_s == pytest.approx(100.0)


def test_between_late_and_in_time_nothing_changes():
    """A tenth of a second is what a shard's verdict takes."""
    assert USUAL.next(late_s=0.1, waiting=500, left_s=200.0) == USUAL


@pytest.mark.parametrize(("left_s", "most"), [(210.0, 100.0), (20.0, 200.0), (11.0, 400.0), (0.0, 400.0)])
def test_the_less_time_is_left_the_faster_it_may_be(left_s, most):
    """Two thousand waiting machines need 10 to 200 starts a second, and four times the usual rate is the most."""
    assert USUAL.most_per_s(2_000, left_s) == pytest.approx(most)


def visited(*took_s: float, asked: int) -> Patience[str]:
    patience = Patience()
    patience.expect(asked)
    for number, took in enumerate(took_s):
        patience.begin(f"done-{number}", 0.0)
        patience.end(f"done-{number}", took)
    return patience


def test_nobody_is_cut_while_most_are_not_through():
    """With two of four done there is no limit; with three there is."""
    assert visited(1.0, 1.0, asked=4).limit_s is None
    assert visited(1.0, 1.0, 1.0, asked=4).limit_s == LEAST_S


def test_who_takes_three_times_as_long_as_the_others_is_late():
    """Others took 5 s: after 15 s a visit is late, before it is not."""
    patience = visited(5.0, 5.0, 5.0, asked=4)
    patience.begin("slow", 100.0)

    assert patience.late(115.0) == {}
    assert patience.late(115.1) == {"slow": 15.0}


def test_who_waits_for_us_is_not_late():
    """The time for which a visit waits for a turn of ours does not count, neither while it waits nor after."""
    patience = visited(1.0, 1.0, 1.0, asked=4)
    patience.begin("patient", 0.0)
    patience.pause("patient", 1.0)

    assert patience.late(100.0) == {}
    patience.resume("patient", 100.0)
    assert patience.late(108.0) == {}
    assert patience.late(110.0) == {"patient": LEAST_S}


def test_a_stranger_in_a_hurry_has_three_seconds_for_each_answer():
    """And ten in all; whoever is known has the ten for one answer. What it waits for us does not count here either."""
    patience = visited(1.0, 1.0, 1.0, asked=6)
    for _ in range(3):
        patience.end("none", 0.0)
    for key in ("silent", "slow", "known"):
        patience.begin(key, 0.0, is_hurried=key != "known")
    patience.hear("slow", 2.0)
    patience.pause("slow", 2.5)
    patience.resume("slow", 3.5)
    patience.hear("known", 2.0)

    assert patience.late(3.0) == {}
    assert patience.late(3.1) == {"silent": ANSWER_S}
    assert patience.late(6.0) == {"silent": ANSWER_S}
    assert patience.late(6.1) == {"silent": ANSWER_S, "slow": ANSWER_S}
    assert patience.late(10.1)["known"] == LEAST_S


def test_a_stranger_is_cut_as_soon_as_some_are_through():
    """Ten of a hundred: they tell that we are not late ourselves. Whoever is known is cut when most are through."""
    patience = visited(*[1.0] * 9, asked=100)
    patience.begin("silent", 0.0, is_hurried=True)
    patience.begin("known", 0.0)
    assert patience.late(50.0) == {}
    patience.begin("tenth", 0.0)
    patience.end("tenth", 1.0)

    assert patience.late(50.0) == {"silent": ANSWER_S}


def test_where_visits_take_long_a_strangers_answer_may_take_as_long_as_one():
    """A validator that is busy, or a network far away, is nobody's fault."""
    patience = visited(9.0, 9.0, 9.0, asked=4)
    patience.begin("far", 0.0, is_hurried=True)

    assert patience.late(9.0) == {}
    assert patience.late(9.1) == {"far": 9.0}


def test_a_visit_that_never_began_is_counted_as_done():
    """One that had no turn says nothing of how long visits take, but nobody waits for it."""
    patience = visited(asked=1)
    patience.end("none", 50.0)

    assert patience.limit_s == LEAST_S
